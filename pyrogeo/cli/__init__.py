"""The command line: parse, call a job, print. Loads torch only where a command needs it.

pyrogeo fit DATA -o RUN, sample RUN, diagnose RUN, decode RUN, plot RUN, report RUN, info RUN;
recipes, demo
"""

from pyrogeo.cli.commands import app

__all__ = ["app"]

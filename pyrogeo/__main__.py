"""`python -m pyrogeo`: the command line."""

from pyrogeo.cli import app

if __name__ == "__main__":
    app(prog_name="pyrogeo")

"""Faults at file operations: a process that dies at the n-th one, without ending it.

The operations of `os` are replaced, through which all of pyrogeo's writing goes. Once it has died, a process
does nothing to its files any more: what its `finally` blocks would clear away stays, as after a kill.
"""

import contextlib
import os

OPERATIONS = ("write", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir")


class Killed(BaseException):
    """What no code catches, as a kill."""


class Dying:
    """File operations that are counted, and the last of which does not come to pass, or does so half.

    Args:
        number: of the operation at which the process dies, from 0; None never.
        where: `"before"` it, or `"after"` it, which for a write is after half of it.
    """

    def __init__(self, number=None, where="before"):
        self.number, self.where = number, where
        self.count, self.dead = 0, False

    def reached(self):
        return self.dead

    @contextlib.contextmanager
    def process(self, monkeypatch):
        """A block that may die; it ends quietly then."""
        with monkeypatch.context() as patch:
            for name in (*OPERATIONS, "open"):
                patch.setattr(os, name, self._replaced(name, getattr(os, name)))
            with contextlib.suppress(Killed):
                yield

    def _replaced(self, name, operation):
        def one(*args, **options):
            if name == "write" and args[0] <= 2:  # what is printed is no file
                return operation(*args, **options)
            if name == "open":
                flags = args[1] if len(args) > 1 else options.get("flags", 0)
                if not flags & (os.O_WRONLY | os.O_RDWR):
                    return operation(*args, **options)
            if self.dead:
                raise Killed
            if self.number is not None and self.count == self.number:
                self.dead = True
                if self.where == "after":
                    half = (args[0], args[1][: len(args[1]) // 2]) if name == "write" else args
                    operation(*half, **options)
                raise Killed
            self.count += 1
            return operation(*args, **options)

        return one

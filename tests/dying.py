"""What a kill leaves, at every file operation of a process, without ending it.

The operations of `os` are watched, through which all of pyrogeo's writing goes. A kill leaves the disk as it is
at some moment: before an operation, after it, or with half of a write done. `moments` calls a function at each
of them; `killed_at` lets the process die there, and do nothing to its files any more, not even in `finally`.
"""

import contextlib
import os

OPERATIONS = ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir")


class Killed(BaseException):
    """What no code catches, as a kill."""


@contextlib.contextmanager
def moments(monkeypatch, look):
    """A block at each moment of which `look()` is called."""
    busy = []

    def watched(name, operation):
        def one(*args, **options):
            if busy or not _changes_files(name, args, options):
                return operation(*args, **options)
            with _within(busy):
                look()
            if name == "write" and len(args[1]) > 1:  # the caller writes what is left
                args = args[0], args[1][: len(args[1]) // 2]
            try:
                return operation(*args, **options)
            finally:
                with _within(busy):
                    look()

        return one

    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, watched(name, getattr(os, name)))
        yield


@contextlib.contextmanager
def killed_at(monkeypatch, number):
    """A block that dies at its `number`th moment, from 0, and then ends quietly; yields what says if it did."""
    left, dead = [number], []

    def look():
        left[0] -= 1
        if dead or left[0] < 0:
            dead.append(True)
            raise Killed

    with contextlib.suppress(Killed), moments(monkeypatch, look):
        yield dead


@contextlib.contextmanager
def _within(busy):
    busy.append(True)
    try:
        yield
    finally:
        busy.pop()


def _changes_files(name, args, options):
    if name == "write":
        return args[0] > 2  # what is printed is no file
    if name == "open":
        flags = args[1] if len(args) > 1 else options.get("flags", 0)
        return bool(flags & (os.O_WRONLY | os.O_RDWR))
    return True

"""What the command line can do, as functions: each decides, calls the library, and returns what it made."""

__all__: list[str] = []

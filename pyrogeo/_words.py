"""Words that came from a file or a user, made fit to be shown."""

import unicodedata

__all__ = ["printable"]

#: control characters, those that turn the direction of writing, halves of characters, line separators
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(words: object, most: int | None = None) -> str:
    """Text in one line that neither moves a terminal's cursor nor hides what follows it.

    Args:
        words: whose `str` is shown.
        most: characters, after which the rest is left out.

    >>> print(printable("a\\x1b[2Jb\\nc"))
    a\\x1b[2Jb\\nc
    >>> printable("é, 中, $x$")
    'é, 中, $x$'
    """
    text = str(words)
    if most is not None and len(text) > most:
        text = f"{text[:most]}…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(c) for c in text)


def _seen(character: str) -> str:
    if unicodedata.category(character) in _UNSEEN:
        return character.encode("unicode_escape").decode("ascii")
    return character

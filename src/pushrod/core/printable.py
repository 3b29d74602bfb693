"""Text from others as one harmless line. Pure.

Commit subjects, names, logs and other programs' output are chosen by people who push, and shown to the owner of the
server. The list says which characters are kept, not which are removed.
"""

from pushrod.core.patterns import lazy

_SPACES = "\t\xa0\u2009\u202f\u3000"  # a tab, and characters that some languages use as a space
_JOINERS = "\u200c\u200d"  # needed by Persian, several Indic scripts, and composed emoji
_KEPT = frozenset(_SPACES + _JOINERS)
_SGR = lazy("\x1b\\[([0-9;:]*)m")
_HARMLESS = frozenset(("", *map(str, (0, 1, 2, 3, 4, 22, 23, 24, 39, *range(31, 37), *range(91, 97)))))
_RESET = "\x1b[0m"


def plain(text: str, *, colours: bool = False) -> str:
    """Text from others as one harmless line; with `colours`, colours that hide nothing are kept.

    Characters that Unicode calls printable, tabs, a few spaces and the two joiners are kept. A carriage return at
    the end is part of the line's end and is removed.
    """
    if text.isprintable():
        return text
    text = text.rstrip("\r")
    parts: list[str] = []
    start, coloured = 0, False
    for match in _SGR.finditer(text):
        parts.append(_escaped(text[start : match.start()]))
        start = match.end()
        if colours and _HARMLESS.issuperset(match[1].split(";")):
            parts.append(match[0])
            coloured = True
    parts.append(_escaped(text[start:]))
    return "".join(parts) + (_RESET if coloured else "")


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in _KEPT else c.encode("unicode_escape").decode("ascii") for c in text
    )

"""Regular expressions that are compiled when they are first used.

A command uses few of those in the modules that it imports, and compiling all of them takes a fifth of the time of
importing what a push needs.
"""

import re
from typing import Any, AnyStr, cast


def lazy(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Like `re.compile`, without the work until a method or an attribute of the result is used."""
    return cast("re.Pattern[AnyStr]", _Lazy(text, flags))


class _Lazy:
    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, method)  # the next use finds it without coming here
        return method

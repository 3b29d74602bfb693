"""Amounts as nginx reads them, and the totals of an app's snippets."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

MEMORY = lazy(r".*_buffers?(?:_size)?")
_SHARES = frozenset(("proxy_busy_buffers_size",))  # the memory that other directives take
MOST_MEMORY = 1 << 20  # bytes for one request
_MOST_TOGETHER = 2 * MOST_MEMORY
_SECONDS: Mapping[str, float] = {
    "ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000,
}  # fmt: skip
_MOST_DIRECTIVES = 400
_MOST_VARIABLES = 200
_MOST_CHANGES = 60  # `set`, `auth_request_set`, `rewrite`: nginx may execute each eleven times in one request
MOST_STEPS = 2_000_000  # of regular expressions, see `regexes`: about 10 ms
SHORTEST, MOST_GROWN = (
    4,
    4,
)  # characters to search for in all of an answer; the factor by which an answer may grow


@dataclasses.dataclass
class Spent:
    """The totals of an app's snippets so far; `memory` is what each directive allows one request to take."""

    characters: int = 0
    directives: int = 0
    variables: int = 0
    changes: int = 0
    steps: int = 0
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    grows: bool = False
    everywhere: bool = False

    def check(self, at: str, owner: str) -> None:
        """Raise ManifestError if a total is above an app's share."""
        for total, most, what in (
            (self.directives, _MOST_DIRECTIVES, "lines"),
            (self.variables, _MOST_VARIABLES, "variables in their values"),
            (self.changes, _MOST_CHANGES, "lines that set or rewrite"),
            (self.steps, MOST_STEPS, "steps to match their regular expressions"),
            (sum(self.memory.values()), _MOST_TOGETHER, "bytes of memory for a request"),
        ):
            if total > most:
                raise ManifestError(
                    f"the custom nginx lines of this app have more than {most} {what}",
                    where=at,
                    hint=f"remove unused lines; {owner}",
                )
        if self.grows and self.everywhere:
            raise ManifestError(
                f"`sub_filter_once off` requires words of {SHORTEST} characters or more, and replacements at most "
                f"{MOST_GROWN} times as long: all apps wait while an answer grows",
                where=at,
                hint=f"search for a longer word; {owner}",
            )


def count_memory(name: str, arguments: Sequence[str], spent: Spent) -> None:
    if MEMORY.fullmatch(name) and name not in _SHARES:
        spent.memory[name] = max(amount(arguments), spent.memory.get(name, 0))


def seconds(text: str) -> float:
    """A time as nginx reads it (`1h 30m`, `500ms`), in seconds; longer than allowed if it is invalid."""
    parts = re.findall(r"([0-9]{1,9})(ms|[smhdwMy]?)", text)
    if "".join(f"{n}{unit}" for n, unit in parts) != text.replace(" ", ""):
        return math.inf
    return sum(int(n) * _SECONDS[unit] for n, unit in parts)


def amount(arguments: Sequence[str]) -> int:
    """The product of numbers such as `8 16k`; nginx itself refuses invalid ones."""
    matches = filter(None, (re.fullmatch(r"([0-9]{1,18})([kKmMgG]?)", a) for a in arguments))
    return math.prod(int(n[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[n[2].lower()] for n in matches)

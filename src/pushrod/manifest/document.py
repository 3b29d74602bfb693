"""A YAML document as typed values that know their own path, so that every error can name its key."""

import difflib
import re
import shlex
from typing import NamedTuple, NoReturn

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy

# Units of Compose's durations (https://docs.docker.com/reference/compose-file/11-extension/#specifying-durations,
# Go's time.ParseDuration and the loader's own `d` and `w`), in seconds.
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNITS |= {"d": 86400.0, "w": 7 * 86400.0}
_PART = lazy(r"(\d{1,9}(?:\.\d{0,9})?)(ns|us|µs|ms|s|m|h|d|w)")
_LONGEST = 31 * 86400.0  # seconds; a longer wait in a deployment is a mistake
_LARGEST = 10**9  # no count, port or number of seconds in a manifest is larger


class EmptyValueError(ManifestError):
    """A key's value is an empty text, as that of a variable that is not set."""


class Key(NamedTuple):
    """A value of the document and its path (`services.backend.deploy.replicas`); None means the key is absent."""

    path: str
    value: object

    @property
    def given(self) -> bool:
        """Whether the key is present with a value."""
        return self.value is not None

    def get(self, name: str) -> "Key":
        """The key with that name below this one, which must be a mapping or absent."""
        return self.mapping().get(name) or Key(self._below(name), None)

    def mapping(self) -> dict[str, "Key"]:
        """The keys below this one, in order; empty if it is absent."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.wrong("a mapping")
        return {str(name): Key(self._below(str(name)), value) for name, value in self.value.items()}

    def sequence(self) -> list["Key"]:
        """The items of a list; empty if it is absent."""
        if self.value is None:
            return []
        if not isinstance(self.value, list):
            self.wrong("a list")
        return [Key(f"{self.path}[{i}]", item) for i, item in enumerate(self.value)]

    def text(self) -> str:
        """Text; empty if absent. A number is converted as it would be written."""
        if self.value is None:
            return ""
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            self.wrong("text")
        return scalar(self.value)

    def words(self) -> tuple[str, ...]:
        """An argv: a list of words, or one line split as a shell would; empty if absent."""
        if isinstance(self.value, list):
            return tuple(item.text() for item in self.sequence())
        try:
            return tuple(shlex.split(self.text()))
        except ValueError:
            self.wrong("a command with its quotes closed")

    def names(self) -> tuple[str, ...]:
        """Names: the items of a list, or the keys of a mapping."""
        if isinstance(self.value, dict):
            return tuple(self.mapping())
        return tuple(item.text() for item in self.sequence())

    def options(self) -> dict[str, "Key"]:
        """A mapping, or a list of `name=value`, as a mapping by name."""
        if isinstance(self.value, list):
            return {item.text().partition("=")[0]: item for item in self.sequence()}
        return self.mapping()

    def choice(self, *allowed: str) -> str:
        """One of the allowed words; empty if absent."""
        if self.value is not None and self.value not in allowed:
            self.wrong(" or ".join(allowed), hint=_nearest(str(self.value), allowed))
        return str(self.value or "")

    def whole(self, default: int, *, least: int = 0, most: int = _LARGEST) -> int:
        """A whole number, which may be written as text; `default` if absent."""
        value = self.value
        if value is None:
            return default
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            too_many = isinstance(value, int) and most < value
            self.wrong(f"a whole number from {least} {f'to {most}' if too_many else 'up'}")
        return value

    def seconds(self, default: float) -> float:
        """A duration in seconds, given as a number or in Compose's format (`1m30s`, `500ms`); `default` if
        absent."""
        value = self.value
        if value is None:
            return default
        length = duration(value) if isinstance(value, str) else value
        if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length <= _LONGEST:
            self.wrong("a duration such as 30s or 1m30s")
        return float(length)

    def size(self) -> int:
        """A number of bytes, which may be written as in Compose (`512k`, `10m`, `1gb`); 0 if absent."""
        if self.value is None:
            return 0
        match = re.fullmatch(r"([1-9][0-9]{0,8})([kmg]?)b?", self.text().lower())
        if not match:
            self.wrong("a size such as 512k or 10m")
        return int(match[1]) << 10 * " kmg".index(match[2] or " ")

    def yes(self) -> bool:
        """A boolean; false if absent."""
        if self.value in (None, False, "false", "False"):
            return False
        if self.value not in (True, "true", "True"):
            self.wrong("true or false")
        return True

    def only(self, *valid: str) -> None:
        """Refuse every key below this one that is not valid; the error names the closest valid key."""
        for name, key in self.mapping().items():
            if name not in valid:
                raise ManifestError(
                    f"unknown key `{name}`",
                    where=key.path,
                    hint=_nearest(name, valid),
                )

    def wrong(self, expected: str, *, hint: str = "") -> NoReturn:
        """Refuse this value: raises ManifestError with what was expected and what was found."""
        if self.value == "":
            raise EmptyValueError(
                f"expected {expected}, found nothing",
                where=self.path,
                hint=hint or "write the value; if it is a variable: pushrod secret set NAME",
            )
        hint = hint or "correct that key of the compose file, commit and push again"
        raise ManifestError(
            f"expected {expected}, found {_described(self.value)}", where=self.path, hint=hint
        )

    def _below(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def duration(text: str) -> float | None:
    """The seconds of a Compose duration; None if it is not one. `0` needs no unit."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != end:
            return None
        total += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    return total if text and end == len(text) else None


def scalar(value: object) -> str:
    """A scalar as Compose would write it into an environment."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _nearest(name: str, valid: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    known = "valid here: " + ", ".join(sorted(valid))
    return f"did you mean `{near[0]}`? {known}" if near else known


def _described(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{scalar(value)} (true or false)"
        case int() | float():
            return f"{value} (a number)" if abs(value) < 10**20 else "a number"
        case str():
            return f"`{value[:60]}` (text)"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"

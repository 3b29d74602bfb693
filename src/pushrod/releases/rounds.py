"""Work that a timer has done for all apps, one after the other: in a fair order, and each within a time of its own.

    ROOT/rounds.json     for each kind of work and app: when it was last begun, and whether it ended well

Who was not reached, because a round was cut off or one before it took long, comes first the next time; who failed, or
took too long, comes last.
"""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from pushrod.core.values import Value
from pushrod.state.apps import App, Root, now
from pushrod.system import files, signals


class Turn(Value, frozen=True):
    """An app's last turn: when it began, and whether it ended well."""

    at: str
    well: bool = False


_Table = dict[str, dict[str, Turn]]


class Round:
    """One kind of work. `each` is the seconds that an app has for it."""

    def __init__(self, root: Root, kind: str, each: float) -> None:
        self._path = root.path / "rounds.json"
        self._kind = kind
        self._each = each

    def order(self, apps: Iterable[App]) -> list[App]:
        """The apps in the order of their turns: those that ended well before the others, longest ago first."""
        turns = self._read().get(self._kind, {})
        never = Turn("", well=True)
        return sorted(
            apps, key=lambda a: (not turns.get(a.name, never).well, turns.get(a.name, never).at, a.name)
        )

    @contextlib.contextmanager
    def turn(self, app: App) -> Iterator[None]:
        """An app's turn; HostError where its time is up. What it raises counts as not well."""
        begun = Turn(now())
        self._write(app, begun)  # before: one that ends this whole process comes last, too
        with signals.deadline(self._each, f"app {app.name}: {self._kind}"):
            yield
        self._write(app, msgspec.structs.replace(begun, well=True))

    def _read(self) -> _Table:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._path.read_bytes(), type=_Table)
        return {}  # it is about the order alone

    def _write(self, app: App, turn: Turn) -> None:
        table = self._read()
        there = {a.name for a in app.root.apps()}
        turns = {name: t for name, t in table.get(self._kind, {}).items() if name in there}
        table[self._kind] = {**turns, app.name: turn}
        files.write(self._path, msgspec.json.encode(table))

"""Work that a timer does for all apps, one after the other: in a fair order, each within its own time.

 ROOT/rounds.json     for each kind of work and app: when it last began, and whether it ended well

Apps that a round did not reach, because it was interrupted or an earlier app took long, come first the next time.
Apps that failed or took too long come last.
"""

import contextlib
from collections.abc import Iterable, Iterator

import msgspec

from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.state.apps import App, Root
from pushrod.system import files, signals


class Turn(Value, frozen=True):
    """An app's last turn: when it began, and whether it ended well."""

    at: str
    well: bool = False


_Table = dict[str, dict[str, Turn]]


class Round:
    """One kind of work. `each` is an app's time in seconds."""

    def __init__(self, root: Root, kind: str, each: float) -> None:
        self._path = root.path / "rounds.json"
        self._kind = kind
        self._each = each

    def order(self, apps: Iterable[App]) -> list[App]:
        """The apps in order of their turns: those that ended well first, longest ago first."""
        turns = self._read().get(self._kind, {})
        never = Turn("", well=True)
        return sorted(
            apps, key=lambda a: (not turns.get(a.name, never).well, turns.get(a.name, never).at, a.name)
        )

    @contextlib.contextmanager
    def turn(self, app: App) -> Iterator[None]:
        """An app's turn. Raises HostError when its time is up. An exception in the block counts as failed."""
        begun = Turn(now())
        self._write(app, begun)  # recorded first: an app that ends this whole process comes last, too
        with signals.deadline(self._each, f"app {app.name}: {self._kind}"):
            yield
        self._write(app, msgspec.structs.replace(begun, well=True))

    def _read(self) -> _Table:
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(self._path.read_bytes(), type=_Table)
        return {}  # only the order is lost

    def _write(self, app: App, turn: Turn) -> None:
        table = self._read()
        there = {a.name for a in app.root.apps()}
        turns = {name: t for name, t in table.get(self._kind, {}).items() if name in there}
        table[self._kind] = {**turns, app.name: turn}
        files.write(self._path, msgspec.json.encode(table))

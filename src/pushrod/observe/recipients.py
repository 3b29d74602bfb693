"""The recipients of notices that the machine's owner has set, each with a name.

    ROOT/alarm/targets.json     0600: the address of a webhook may be a secret

They get notices of alarms and deployments, of all apps or of some. `outbox` also sends to what an app's own manifest
names.
"""

import msgspec

from pushrod.adapters import channels
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.core.values import Value
from pushrod.state.apps import Root
from pushrod.state.records import read_json
from pushrod.system import files

ALARM = "alarm"
"""The name of the recipient that `pushrod host alarm set` sets."""

_NAME = lazy(r"[a-z][a-z0-9-]{0,30}")
_MOST = 20
_HINT = "`pushrod host notify add` them again"


class Recipient(Value, frozen=True):
    """One recipient. `apps` are those it gets notices of; empty means everything. Without `deployments` it gets
    alarms only."""

    name: str
    target: str
    style: channels.Style = "json"
    apps: tuple[str, ...] = ()
    deployments: bool = True

    def hears(self, app: str) -> bool:
        """Whether it gets notices of an app, or, for an empty name, of the machine."""
        return not self.apps or app in self.apps


class _Old(Value, frozen=True):
    target: str


class Recipients:
    """The recipients of a root."""

    def __init__(self, root: Root) -> None:
        self._directory = root.path / "alarm"
        self._path = self._directory / "targets.json"
        self._old = self._directory / "target.json"  # of an older pushrod: the one recipient of alarms

    def all(self) -> list[Recipient]:
        """All of them, in the order in which they were added. Raises StateError if their file is damaged."""
        if self._path.exists():
            return read_json(self._path, list[Recipient], restore=_HINT)
        if self._old.exists():
            target = read_json(self._old, _Old, restore=_HINT).target
            return [Recipient(ALARM, target, deployments=False)]
        return []

    def named(self, name: str) -> Recipient | None:
        """The one with that name, if there is one."""
        return next((one for one in self.all() if one.name == name), None)

    def add(self, recipient: Recipient) -> None:
        """Add or replace one. Raises HostError for what cannot be a target, UnknownNameError for an invalid name."""
        if not _NAME.fullmatch(recipient.name):
            raise UnknownNameError(
                f"`{recipient.name}` cannot be a name", hint="up to 31 of a-z, 0-9 and -, a letter first"
            )
        kind = channels.check(recipient.target)
        if kind != "webhook" and recipient.style != "json":
            raise HostError(f"{kind} has no style", hint="leave out --style: it is for webhooks")
        others = [one for one in self.all() if one.name != recipient.name]
        if len(others) >= _MOST:
            raise HostError(f"there are {_MOST} recipients already", hint="`pushrod host notify remove NAME`")
        self._write([*others, recipient])

    def remove(self, name: str) -> bool:
        """Remove one; returns whether it was there."""
        known = self.all()
        others = [one for one in known if one.name != name]
        if len(others) != len(known):
            self._write(others)
        return len(others) != len(known)

    def _write(self, recipients: list[Recipient]) -> None:
        files.make_private(self._directory)
        files.write(self._path, msgspec.json.encode(recipients), mode=0o600)
        files.remove(self._old)

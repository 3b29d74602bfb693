"""The limits of a host as its owner changes them: in host.json, and in systemd's files that enforce them."""

import msgspec

from pushrod.adapters import systemd
from pushrod.core import limits
from pushrod.core.errors import UnknownNameError
from pushrod.engines import machine
from pushrod.provisioning import host_settings, units
from pushrod.state.apps import HostSettings, Root

_DEFAULT = "default"
_OF_THE_EDGE = ("client_requests", "client_uploads", "client_connections", "app_requests", "app_connections")


def change(root: Root, words: tuple[str, ...], app: str = "") -> HostSettings:
    """Change limits of all apps or of one, and make systemd apply them at once; running processes continue.

    A word is `memory=2G`, or `memory=default`, which undoes a change. A limit on single containers applies from the
    app's next deployment on. Raises UnknownNameError for an invalid word, HostError if this machine is not a host.
    """
    settings = host_settings.read(root)
    before = settings.app_limits.get(app, {}) if app else settings.limits
    after = _changed(before, words, app)
    if app:
        others = {name: its for name, its in settings.app_limits.items() if name != app}
        changed = msgspec.structs.replace(settings, app_limits=others | ({app: after} if after else {}))
    else:
        changed = msgspec.structs.replace(settings, limits=after)
    host_settings.write(root, changed)
    for item in (*units.slices(changed), units.guard(root, changed)):
        if item.change.pending:
            item.carry_out()
    for path in (systemd.DIRECTORY / name for name in _gone(settings, changed)):
        path.unlink(missing_ok=True)
    systemd.call("daemon-reload")
    if any(settings.limits.get(name) != changed.limits.get(name) for name in _OF_THE_EDGE):
        systemd.call("restart", systemd.GUARD)
        units.prepare_edge(root)
    apps = {each.name: machine.limits(changed, each.name) for each in root.apps()}
    systemd.rebound(machine.limits(changed), apps)
    return changed


def _changed(before: dict[str, float], words: tuple[str, ...], app: str) -> dict[str, float]:
    values = dict(before)
    for word in words:
        name, equals, value = word.partition("=")
        key = name.replace("-", "_")
        if equals and value == _DEFAULT and key in limits.LIMITS:
            values.pop(key, None)
            continue
        key, number = limits.parse(word)
        if app and key in ("all_memory", "layer", *_OF_THE_EDGE):
            raise UnknownNameError(f"{name} applies to all apps together", hint="omit --app")
        values[key] = number
    return values


def _gone(before: HostSettings, after: HostSettings) -> set[str]:
    """The files of apps that no longer have limits of their own."""

    def names(settings: HostSettings) -> set[str]:
        some = machine.limits(settings)
        return {*systemd.slices(some, dict.fromkeys(settings.app_limits, some))}

    return names(before) - names(after)

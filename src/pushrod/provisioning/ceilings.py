"""The limits of a host, as its owner changes them: in host.json, and in the files by which systemd keeps them."""

import msgspec

from pushrod.adapters import systemd
from pushrod.core import limits
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.engines import machine
from pushrod.provisioning import units, work
from pushrod.state.apps import HostSettings, Root

_DEFAULT = "default"
_OF_THE_EDGE = ("client_requests", "client_uploads", "client_connections", "app_requests")


def change(root: Root, words: tuple[str, ...], app: str = "") -> HostSettings:
    """Change limits, of all apps or of one, and have systemd take them at once; what runs goes on.

    A word is `memory=2G`, or `memory=default`, which takes a change back. What a container alone may have holds from
    its app's next deployment on. Raises UnknownNameError for a word that is none, HostError where this is no host.
    """
    settings = root.host_settings
    if settings is None:
        raise HostError("this machine is no host yet", where=str(root.path), hint="pushrod host init")
    before = settings.app_limits.get(app, {}) if app else settings.limits
    after = _changed(before, words, app)
    if app:
        others = {name: its for name, its in settings.app_limits.items() if name != app}
        changed = msgspec.structs.replace(settings, app_limits=others | ({app: after} if after else {}))
    else:
        changed = msgspec.structs.replace(settings, limits=after)
    encoded = msgspec.json.format(msgspec.json.encode(changed))
    there = root.host_settings_path.stat()
    owner = (there.st_uid, there.st_gid)
    works = [
        work.file(root.host_settings_path, encoded, owner=lambda: owner),
        *units.slices(changed),
        units.guard(root, changed),
    ]
    for made in works:
        if made.change.pending:
            made.carry_out()
    for path in (systemd.DIRECTORY / name for name in _gone(settings, changed)):
        path.unlink(missing_ok=True)
    systemd.call("daemon-reload")
    if any(settings.limits.get(name) != changed.limits.get(name) for name in _OF_THE_EDGE):
        systemd.call("restart", systemd.GUARD)
        units.prepare_edge(root)
    apps = {found.name: machine.limits(changed, found.name) for found in root.apps()}
    systemd.rebound(machine.limits(changed), apps)
    return changed


def _changed(before: dict[str, float], words: tuple[str, ...], app: str) -> dict[str, float]:
    found = dict(before)
    for word in words:
        name, equals, value = word.partition("=")
        key = name.replace("-", "_")
        if equals and value == _DEFAULT and key in limits.LIMITS:
            found.pop(key, None)
            continue
        key, number = limits.parse(word)
        if app and key in ("all_memory", "layer", *_OF_THE_EDGE):
            raise UnknownNameError(f"{name} is one for all apps", hint="leave --app out")
        found[key] = number
    return found


def _gone(before: HostSettings, after: HostSettings) -> set[str]:
    """The files of apps that have no limits of their own any more."""

    def names(settings: HostSettings) -> set[str]:
        some = machine.limits(settings)
        return {*systemd.slices(some, dict.fromkeys(settings.app_limits, some))}

    return names(before) - names(after)

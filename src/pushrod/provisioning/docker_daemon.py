"""The Docker engine's settings: what pushrod adds to daemon.json, and what it leaves to the host's owner.

A key that is there is never overwritten. What each does: https://docs.docker.com/reference/cli/dockerd/
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, NamedTuple

from pushrod.adapters import systemd
from pushrod.core.errors import HostError, StateError
from pushrod.provisioning import pool
from pushrod.provisioning.work import Action, Change, Work
from pushrod.state.apps import HostSettings
from pushrod.system import files, processes, waits

PATH = Path("/etc/docker/daemon.json")
BACKUP = PATH.with_name("daemon.json.before-pushrod")
POOLS = "default-address-pools"
_OPTIONS = {"max-size": "10m", "max-file": "3"}
_RELOAD = 10.0  # seconds for the engine to take new settings up
_RESTART = 120.0  # seconds


class Merged(NamedTuple):
    """The settings as they should be, the names that were added, and those kept with the owner's value."""

    settings: dict[str, Any]
    added: tuple[str, ...]
    kept: tuple[str, ...]


def read(path: Path = PATH) -> dict[str, Any]:
    """The settings as they are; StateError, with the file untouched, if they are not a JSON object."""
    if not path.exists() or not path.read_text().strip():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as e:
        raise _unreadable(path, str(e)) from e
    if not isinstance(found, dict):
        raise _unreadable(path, "it holds no JSON object")
    return found


def _unreadable(path: Path, why: str) -> StateError:
    return StateError(
        f"the Docker engine's settings cannot be read: {why}",
        where=str(path),
        hint="mend the file, then run `pushrod host init` again; nothing was changed",
    )


def wanted(block: IPv4Network) -> dict[str, Any]:
    """What pushrod wants said: containers outlive the engine, logs stay small, no process for each open port."""
    return {
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": dict(_OPTIONS),
        "userland-proxy": False,
        POOLS: [{"base": str(block), "size": 24}],
    }


def merge(found: Mapping[str, Any], block: IPv4Network) -> Merged:
    """Add what is not said. Options of a log go only with a driver that knows them: another would not start."""
    ours = wanted(block)
    if found.get("log-driver", "json-file") not in ("json-file", "local"):
        del ours["log-opts"]
    added = tuple(key for key in ours if key not in found)
    kept = tuple(key for key, value in ours.items() if key in found and not _alike(key, found[key], value))
    return Merged({**found, **{key: ours[key] for key in added}}, added, kept)


def _alike(key: str, found: Any, value: Any) -> bool:
    """Whether a setting says what pushrod wants; which block of addresses it is makes no difference."""
    return bool(pools({key: found})) if key == POOLS else bool(found == value)


def pools(settings: Mapping[str, Any]) -> list[IPv4Network]:
    """The blocks that the engine takes its networks from."""
    try:
        return [ipaddress.IPv4Network(pool["base"]) for pool in settings.get(POOLS, ())]
    except (ValueError, TypeError, KeyError):
        return []


def plan(block: IPv4Network, running: Callable[[], int | None], path: Path = PATH) -> list[Work]:
    """Bring the settings up to what is wanted. `running` counts the containers; None while no engine answers."""
    merged = merge(read(path), block)
    kept = [
        Work(Change(f"{path.name} {key}", "kept", f"{json.dumps(merged.settings[key])} is yours"))
        for key in merged.kept
    ]
    if not merged.added:
        return [Work(Change(str(path), "same")), *kept]
    there = running()
    detail = f"adds {', '.join(merged.added)}"
    if there is not None:
        detail += "; the Docker engine is restarted" + _told(there, _survive(merged))
    action: Action = "changed" if path.exists() else "new"
    return [Work(Change(str(path), action, detail), lambda: apply(merged, path)), *kept]


def _told(containers: int, survives: bool) -> str:
    if not containers:
        return ""
    its = "its container" if containers == 1 else f"its {containers} containers"
    if survives:
        return f"; {its} {'goes' if containers == 1 else 'go'} on meanwhile"
    return f"; {its} {'is' if containers == 1 else 'are'} stopped and started again"


def _survive(merged: Merged) -> bool:
    """Whether containers outlive a restart of the engine once these settings are loaded."""
    return merged.settings.get("live-restore") is True


def _restores() -> bool:
    """Whether the engine says that containers outlive it."""
    argv = ["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]
    return processes.run(argv, timeout=20).stdout.strip() == "true"


def block(settings: HostSettings) -> IPv4Network:
    """A block for the engine's own networks, beside the pool, where it has none yet."""
    return pool.choose([*pool.routes(), IPv4Network(settings.pool)])


def blocks(settings: HostSettings) -> list[IPv4Network]:
    """The blocks that the engine takes its networks from, or will once its settings are merged."""
    found = read()
    return pools(found) if POOLS in found else [block(settings)]


def apply(merged: Merged, path: Path = PATH) -> None:
    """Write the settings, the old ones beside them, and have a running engine take them.

    A reload is enough for live-restore (dockerd's own list of what can be reloaded); with that on, the restart that
    the others need leaves the containers running. If the engine does not come back, the old settings do.
    """
    before = path.read_bytes() if path.exists() else None
    if before is not None:
        files.write(BACKUP if path == PATH else path.with_name(BACKUP.name), before)
    files.write(path, json.dumps(merged.settings, indent=2) + "\n")
    if not systemd.is_active("docker.service"):
        return
    try:
        systemd.call("reload", "docker.service")
        if _survive(merged):  # a restart before the engine has taken the reload up would end its containers
            waits.wait_until(_restores, _RELOAD, 0.1)
        systemd.call("restart", "docker.service", timeout=_RESTART)
    except HostError:
        if before is None:
            path.unlink()
        else:
            files.write(path, before)
        systemd.call("reset-failed", "docker.service")
        systemd.call("start", "docker.service", timeout=_RESTART)
        raise

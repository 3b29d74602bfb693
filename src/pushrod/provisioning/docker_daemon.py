"""The Docker engine's settings: what pushrod adds to daemon.json, and what it leaves to the host's owner.

An existing key is never overwritten. The keys: https://docs.docker.com/reference/cli/dockerd/
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
from pushrod.provisioning.changes import Action, Change, Work
from pushrod.state.apps import HostSettings
from pushrod.system import files, processes, waits

PATH = Path("/etc/docker/daemon.json")
BACKUP = PATH.with_name("daemon.json.before-pushrod")
POOLS = "default-address-pools"
_OPTIONS = {"max-size": "10m", "max-file": "3"}
_RELOAD = 10.0  # seconds for the engine to apply new settings
_RESTART = 120.0  # seconds


class Merged(NamedTuple):
    """The resulting settings, the names that were added, and those that kept the owner's value."""

    settings: dict[str, Any]
    added: tuple[str, ...]
    kept: tuple[str, ...]


def read(path: Path = PATH) -> dict[str, Any]:
    """The current settings; StateError, with the file untouched, if they are not a JSON object."""
    if not path.exists() or not path.read_text().strip():
        return {}
    try:
        settings = json.loads(path.read_text())
    except ValueError as e:
        raise _unreadable(path, str(e)) from e
    if not isinstance(settings, dict):
        raise _unreadable(path, "it is not a JSON object")
    return settings


def _unreadable(path: Path, why: str) -> StateError:
    return StateError(
        f"the Docker engine's settings cannot be read: {why}",
        where=str(path),
        hint="fix the file, then run `pushrod host init` again; nothing was changed",
    )


def desired(block: IPv4Network) -> dict[str, Any]:
    """The settings pushrod needs: containers outlive the engine, logs stay small, no process for each open port."""
    return {
        "live-restore": True,
        "log-driver": "json-file",
        "log-opts": dict(_OPTIONS),
        "userland-proxy": False,
        POOLS: [{"base": str(block), "size": 24}],
    }


def merge(settings: Mapping[str, Any], block: IPv4Network) -> Merged:
    """Add missing settings. Log options are added only for a driver that supports them: another would not start."""
    ours = desired(block)
    if settings.get("log-driver", "json-file") not in ("json-file", "local"):
        del ours["log-opts"]
    added = tuple(key for key in ours if key not in settings)
    kept = tuple(
        key for key, value in ours.items() if key in settings and not _alike(key, settings[key], value)
    )
    return Merged({**settings, **{key: ours[key] for key in added}}, added, kept)


def _alike(key: str, current: Any, value: Any) -> bool:
    """Whether a setting matches pushrod's; for address pools, any block will do."""
    return bool(pools({key: current})) if key == POOLS else bool(current == value)


def pools(settings: Mapping[str, Any]) -> list[IPv4Network]:
    """The blocks from which the engine allocates its networks."""
    try:
        return [ipaddress.IPv4Network(pool["base"]) for pool in settings.get(POOLS, ())]
    except (ValueError, TypeError, KeyError):
        return []


def plan(block: IPv4Network, running: Callable[[], int | None], path: Path = PATH) -> list[Work]:
    """Bring the settings up to date. `running` counts the containers; None if no engine answers."""
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
        detail += "; the Docker engine is restarted" + _consequence(there, _survive(merged))
    action: Action = "changed" if path.exists() else "new"
    return [Work(Change(str(path), action, detail), lambda: apply(merged, path)), *kept]


def _consequence(containers: int, survives: bool) -> str:
    if not containers:
        return ""
    its = "its container" if containers == 1 else f"its {containers} containers"
    if survives:
        return f"; {its} {'keeps' if containers == 1 else 'keep'} running"
    return f"; {its} {'is' if containers == 1 else 'are'} restarted too"


def _survive(merged: Merged) -> bool:
    """Whether containers outlive a restart of the engine once these settings are loaded."""
    return merged.settings.get("live-restore") is True


def _restores() -> bool:
    """Whether the engine reports that containers outlive it."""
    argv = ["docker", "info", "--format", "{{.LiveRestoreEnabled}}"]
    return processes.run(argv, timeout=20).stdout.strip() == "true"


def block(settings: HostSettings) -> IPv4Network:
    """A block for the engine's own networks, beside the pool, if it has none yet."""
    return pool.choose([*pool.routes(), IPv4Network(settings.pool)])


def blocks(settings: HostSettings) -> list[IPv4Network]:
    """The blocks from which the engine allocates its networks, now or after its settings are merged."""
    current = read()
    return pools(current) if POOLS in current else [block(settings)]


def apply(merged: Merged, path: Path = PATH) -> None:
    """Write the settings, keep the old ones beside them, and make a running engine apply them.

    A reload is enough for live-restore (dockerd's list of reloadable settings); once that is on, the restart that
    the others need leaves the containers running. If the engine does not come back, the old settings are restored.
    """
    before = path.read_bytes() if path.exists() else None
    if before is not None:
        files.write(BACKUP if path == PATH else path.with_name(BACKUP.name), before)
    files.write(path, json.dumps(merged.settings, indent=2) + "\n")
    if not systemd.is_active("docker.service"):
        return
    try:
        systemd.call("reload", "docker.service")
        if _survive(merged):  # restarted before the reload is applied, it would end its containers
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

"""What `pushrod doctor` checks on a Docker host: whether everything `pushrod host init` made is still in place."""

import pwd
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

from pushrod.adapters import systemd
from pushrod.core.errors import PushrodError
from pushrod.core.values import Diagnostic
from pushrod.engines.docker import own_sites
from pushrod.provisioning import (
    account,
    docker_daemon,
    kernel,
    keys,
    places,
    pool,
    programs,
    shares,
    sshd,
    units,
)
from pushrod.provisioning.changes import Work
from pushrod.state.apps import HostSettings, Root

_AGAIN = "as root: pushrod host init"


def examine(root: Root) -> Iterator[Diagnostic]:
    """Check the host of a root; changes nothing, and needs no root."""
    checks: tuple[tuple[str, Callable[[], Iterator[Diagnostic]]], ...] = (
        ("daemon", _daemon),
        ("account", lambda: _account(root)),
        ("programs", lambda: _programs(root)),
        ("units", lambda: _units(root)),
        ("keys", lambda: _keys(root)),
        ("sshd", _sshd),
        ("pool", lambda: _pool(root)),
        ("files", lambda: _files(root)),
        ("kernel", _kernel),
        ("page", lambda: own_sites.examine(root)),
    )
    for what, check in checks:
        try:
            yield from check()
        except PushrodError as e:
            yield Diagnostic(what, "broken", f"{e.where}: {e.what}" if e.where else e.what, e.hint)


def _daemon() -> Iterator[Diagnostic]:
    settings = docker_daemon.read()
    merged = docker_daemon.merge(settings, pool.CANDIDATES[0])
    if merged.added:
        lacks = ", ".join(merged.added)
        yield Diagnostic("daemon", "warning", f"{docker_daemon.PATH} lacks: {lacks}", _AGAIN)
    elif settings.get("live-restore") is not True:
        detail = "live-restore is off: a restart of the Docker engine stops every app"
        yield Diagnostic("daemon", "warning", detail, f'set "live-restore": true in {docker_daemon.PATH}')
    else:
        yield Diagnostic("daemon", "ok", "live-restore is on, logs are bounded")


def _account(root: Root) -> Iterator[Diagnostic]:
    entry = account.entry()
    if entry is None:
        yield Diagnostic("account", "broken", f"there is no account {account.NAME}", _AGAIN)
    elif account.argv(root.path, entry, account.is_member()):
        yield Diagnostic("account", "broken", _account_problem(root, entry), _AGAIN)
    else:
        yield Diagnostic("account", "ok", f"{account.NAME}, in group {account.GROUP}")


def _account_problem(root: Root, entry: pwd.struct_passwd) -> str:
    if not account.is_member():
        return f"{account.NAME} is not in group {account.GROUP}, so it cannot reach the Docker engine"
    return f"{account.NAME} has home {entry.pw_dir} and shell {entry.pw_shell}, not {root.path} and {account.SHELL}"


def _programs(root: Root) -> Iterator[Diagnostic]:
    wrong = _wrong(programs.plan(root, installing=False))
    version = programs.check_compose(root.programs / "docker-compose") if not wrong else ""
    if wrong:
        yield Diagnostic("programs", "broken", wrong, _AGAIN)
    else:
        yield Diagnostic("programs", "ok", f"current; Compose {version}")


def _units(root: Root) -> Iterator[Diagnostic]:
    if wrong := _wrong(units.files(root, root.host_settings or HostSettings())):
        yield Diagnostic("units", "warning", wrong, _AGAIN)
    if not systemd.is_enabled(systemd.TARGET):
        yield Diagnostic("units", "broken", f"{systemd.TARGET} does not start at boot", _AGAIN)
    gates = [shares.unit(key.name) for key in keys.KeyFile(root.path / keys.PLACE, (0, 0)).all()]
    stopped = [unit for unit in (systemd.TARGET, *units.STARTED, *gates) if not systemd.is_active(unit)]
    for unit in stopped:
        yield Diagnostic(
            "units", "broken", f"{unit} is not active", f"systemctl start {unit}; journalctl -eu {unit}"
        )
    if not wrong and not stopped:
        yield Diagnostic("units", "ok", f"{1 + len(units.STARTED) + len(gates)} active and unchanged")


def _wrong(works: list[Work]) -> str:
    """The items that are missing or have changed."""
    return ", ".join(
        f"{work.change.what} is {'missing' if work.change.action == 'new' else 'changed'}"
        for work in works
        if work.change.pending
    )


def _keys(root: Root) -> Iterator[Diagnostic]:
    path = root.path / ".ssh" / "authorized_keys"
    if not path.exists():
        yield Diagnostic("keys", "ok", "none yet; `pushrod host keys add` lets somebody push")
        return
    for place, mode in ((path.parent, 0o700), (path, 0o600)):
        status = place.stat()
        if status.st_mode & 0o7777 != mode or status.st_uid != account.owner()[0]:
            remedy = f"chown {account.NAME}: {place}; chmod {mode:o} {place}"
            yield Diagnostic("keys", "broken", f"{place} is open to others: sshd may refuse it", remedy)
            return
    yield Diagnostic("keys", "ok", f"{len(path.read_text().splitlines())} lines")


def _sshd() -> Iterator[Diagnostic]:
    if not sshd.is_there():
        return
    if accepted := sshd.accepts():
        detail = (
            f"sshd takes variables from clients with which a key could run programs: {', '.join(accepted)}"
        )
        yield Diagnostic("sshd", "broken", detail, f"{_AGAIN}; if it stays, {sshd.HINT}")
    else:
        yield Diagnostic("sshd", "ok", "a client sets no variable that changes what runs")


def _files(root: Root) -> Iterator[Diagnostic]:
    wrong = list(places.problems(root))
    for problem in wrong:
        yield Diagnostic("files", "broken", problem, _AGAIN)
    if not wrong:
        yield Diagnostic("files", "ok", "closed to the other accounts of this machine")


def _kernel() -> Iterator[Diagnostic]:
    low = kernel.lower()
    if wrong := _wrong(kernel.plan()[:1]):
        yield Diagnostic("kernel", "warning", wrong, _AGAIN)
    elif low:
        detail = f"too low, so one app could exhaust what all apps share: {', '.join(low)}"
        remedy = f"{_AGAIN}; or remove these settings from the later file that overrides pushrod's"
        yield Diagnostic("kernel", "warning", detail, remedy)
    else:
        yield Diagnostic("kernel", "ok", "no app can exhaust what all apps share")


def _pool(root: Root) -> Iterator[Diagnostic]:
    settings = root.host_settings or HostSettings()
    block = IPv4Network(settings.pool)
    foreign = [network for network in pool.routes() if not network.subnet_of(block)]
    if (other := pool.collision(block, foreign)) is not None:
        detail = f"{block}, where releases get their addresses, overlaps the route to {other}"
        yield Diagnostic("pool", "broken", detail, "give that network other addresses")
    else:
        yield Diagnostic("pool", "ok", f"{block} is free for releases")

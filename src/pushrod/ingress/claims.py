"""Which app owns which names on this machine: decided under one lock, whether or not the app runs.

A claim begins when a release with the name is about to become live. It ends when a later release of that app is
live without the name, or the app is destroyed: an app that is down keeps its names. A name below another app's
name, or a wildcard above it, needs the permission of the host's owner (`domain:NAME`), or a key that may push both
apps.

    apps/shop/claims.json     the app's names, including those of an unfinished promotion; rewritten at its end

The names of an app's live release are always its own, so a host without these files needs none.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.core.errors import EdgeError, StateError
from pushrod.core.site import both_nameless, same_domain
from pushrod.core.values import Diagnostic
from pushrod.manifest import grants
from pushrod.state.apps import App, Root
from pushrod.state.releases import Releases
from pushrod.system import files, locks

_PATIENCE = 60.0  # seconds to wait for the lock, which is held only while a few small files are read


def of(app: App) -> tuple[str, ...]:
    """The names an app owns, sorted; none before its first release."""
    return tuple(sorted({*_written(app), *_live(app)}))


def requested_names(domains: Sequence[str], port: int) -> tuple[str, ...]:
    """The names an app with these domains answers to: without any, every other name on its port (`:80`)."""
    return tuple(domains) or (f":{port}",)


def check(app: App, names: Sequence[str], may_push: Callable[[str], bool]) -> None:
    """Raise EdgeError if an app may not have these names. `may_push` tells whether the caller may push another
    app."""
    check_host(app.root, app.name, names)
    own, allowed = of(app), app.settings.allowed
    for other in _others(app):
        theirs = of(other)
        for name in names:
            if name in theirs:
                raise _taken(app, name, other)
            if name in own or may_push(other.name) or grants.covered(f"{grants.DOMAIN}{name}", allowed):
                continue
            if near := next((held for held in theirs if overlaps(name, held)), ""):
                raise _near(app, name, near, other)


def check_host(root: Root, app: str, names: Sequence[str]) -> None:
    """Raise EdgeError if an app wants the domain at which the host's own page is."""
    domain = root.own_domain
    if domain and domain in names:
        raise EdgeError(
            f"the domain {domain} is that of this host's page",
            where=app,
            hint="use another name; the host's owner can free it: pushrod host web on --no-domain",
        )


def check_free(root: Root, domain: str) -> None:
    """Raise EdgeError if a domain that the host's page is to have is an app's."""
    for app in root.apps():
        if domain and domain in of(app):
            raise same_domain("this host's page", app.name, domain)


def take(app: App, names: Sequence[str], may_push: Callable[[str], bool]) -> None:
    """Add names to an app's own. Raises EdgeError under the same conditions as `check`, and then changes
    nothing."""
    with _locked(app.root):
        check(app, names, may_push)
        _write(app, {*of(app), *names})


def settle(app: App, names: Sequence[str]) -> None:
    """Set what an app owns from now on to the names of its live release; releases all others."""
    with _locked(app.root):
        _write(app, set(names))


def overlaps(name: str, held: str) -> bool:
    """Whether `name` is below `held`, another app's name, or a wildcard above it; the two must differ.

    A name of one label (`com`, `localhost`) does not own what is below it.
    """
    base, other = name.removeprefix("*."), held.removeprefix("*.")
    if name.startswith(":") or held.startswith(":"):
        return False
    below = "." in other and (base == other or base.endswith(f".{other}"))
    return below or (name.startswith("*.") and other.endswith(f".{base}"))


def examine(root: Root) -> Iterator[Diagnostic]:
    """A diagnostic for each name that two apps own: on an older host, or after files were restored by hand."""
    owners: dict[str, list[str]] = {}
    for app in root.apps():
        for name in of(app):
            owners.setdefault(name, []).append(app.name)
    for name, apps in owners.items():
        if len(apps) > 1:
            fix = "remove it from `x-pushrod.domains` of all but one and deploy, or destroy unused apps"
            yield Diagnostic("names", "broken", f"{name} belongs to {' and '.join(apps)}", fix)


def _others(app: App) -> Iterator[App]:
    return (other for other in app.root.apps() if other.name != app.name)


def _taken(app: App, name: str, other: App) -> EdgeError:
    if name.startswith(":"):
        return both_nameless(app.name, other.name, name[1:])
    return same_domain(app.name, other.name, name)


def _near(app: App, name: str, near: str, other: App) -> EdgeError:
    how = "is a wildcard above" if name.startswith("*.") and not name.endswith(f".{near}") else "is below"
    return EdgeError(
        f"the domain {name} {how} {near}, which is {other.name}'s",
        where=f"{other.name} and {app.name}",
        hint=f"the host's owner can allow it: pushrod apps allow {app.name} {grants.DOMAIN}{name}",
    )


# ---- what is on disk ------------------------------------------------------------------------------------------


def _locked(root: Root) -> contextlib.AbstractContextManager[None]:
    return locks.lock(root.claims_lock, purpose="claiming names", timeout=_PATIENCE)


def _path(app: App) -> Path:
    return app.directory / "claims.json"


def _write(app: App, names: set[str]) -> None:
    if set(_written(app)) != names or not _path(app).exists():
        files.write(_path(app), msgspec.json.format(msgspec.json.encode(sorted(names))) + b"\n")


def _written(app: App) -> tuple[str, ...]:
    """The recorded names; none if the file is unreadable: the live release's names are known without it."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(_path(app).read_bytes(), type=tuple[str, ...])
    return ()


def _live(app: App) -> tuple[str, ...]:
    """The names of the live release, by the pointer, so also for an app that is down; none if its file is
    damaged."""
    try:
        return Releases(app).live_domains() or requested_names((), app.settings.port)
    except StateError:
        return ()

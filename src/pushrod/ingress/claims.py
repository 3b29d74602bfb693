"""Which app owns which names on this machine: decided once, under one lock, whatever happens to run.

A claim begins when a release that wants the name is about to become live, and lasts until a later release of that
app is live without it, or the app is destroyed: an app that is down keeps its names. A name below one of another
app's, or a wildcard above one, takes the word of the host's owner (`domain:NAME`), or somebody who may push both.

    apps/shop/claims.json     what the app owns, also while a promotion has not ended; written anew at its end

What an app's live release answers to is the app's in any case, so a host that has no such files yet needs none.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from pushrod.core.errors import EdgeError, StateError
from pushrod.core.values import Diagnostic
from pushrod.manifest import grants
from pushrod.state.apps import App, Root
from pushrod.system import files, locks

_PATIENCE = (
    60.0  # seconds for the lock, which nobody holds for longer than it takes to read a few small files
)


class _Sealed(msgspec.Struct):
    """Only what is needed here of a sealed release."""

    domains: tuple[str, ...] = ()


def of(app: App) -> tuple[str, ...]:
    """The names an app owns, in order; none before its first release."""
    return tuple(sorted({*_written(app), *_live(app)}))


def wanted(domains: Sequence[str], port: int) -> tuple[str, ...]:
    """What an app with these domains answers to: without any, to every other name on its port (`:80`)."""
    return tuple(domains) or (f":{port}",)


def check(app: App, names: Sequence[str], may_push: Callable[[str], bool]) -> None:
    """Raise EdgeError if an app may not have these names. `may_push` says whether who asks may push another app."""
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


def take(app: App, names: Sequence[str], may_push: Callable[[str], bool]) -> None:
    """Make names an app's, beside those it has. Raises EdgeError, and changes nothing, where `check` would."""
    with _locked(app.root):
        check(app, names, may_push)
        _write(app, {*of(app), *names})


def settle(app: App, names: Sequence[str]) -> None:
    """Say what an app owns from now on: what its live release answers to; all else is given up."""
    with _locked(app.root):
        _write(app, set(names))


def overlaps(name: str, held: str) -> bool:
    """Whether a name lies below one that another app has, or is a wildcard above it; for two that are not the same.

    Nobody owns what is below a name of one label: it is everybody's (`com`, `localhost`).
    """
    base, other = name.removeprefix("*."), held.removeprefix("*.")
    if name.startswith(":") or held.startswith(":"):
        return False
    below = "." in other and (base == other or base.endswith(f".{other}"))
    return below or (name.startswith("*.") and other.endswith(f".{base}"))


def examine(root: Root) -> Iterator[Diagnostic]:
    """A diagnostic for each name that two apps have: on an older host, or one whose files were put back by hand."""
    owners: dict[str, list[str]] = {}
    for app in root.apps():
        for name in of(app):
            owners.setdefault(name, []).append(app.name)
    for name, apps in owners.items():
        if len(apps) > 1:
            mend = "take it out of `x-pushrod.domains` of all but one, and deploy; or destroy those that are not used"
            yield Diagnostic("names", "broken", f"{name} belongs to {' and '.join(apps)}", mend)


def _others(app: App) -> Iterator[App]:
    return (other for other in app.root.apps() if other.name != app.name)


def _taken(app: App, name: str, other: App) -> EdgeError:
    if name.startswith(":"):
        return EdgeError(
            f"{other.name} and {app.name} would both answer to every name on port {name[1:]}",
            where=f"{other.name} and {app.name}",
            hint="give one of them names of its own in its compose file, "
            "x-pushrod: {domains: [shop.example.com]}, or another port, `pushrod up --port N`",
        )
    return EdgeError(
        f"the domain {name} is {other.name}'s",
        where=f"{other.name} and {app.name}",
        hint="take it out of `x-pushrod.domains` of one of them, or destroy the app that is not used",
    )


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
    """What is written down; nothing where it cannot be read: what the live release answers to is known without."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(_path(app).read_bytes(), type=tuple[str, ...])
    return ()


def _live(app: App) -> tuple[str, ...]:
    """What the live release answers to, by the pointer: also of an app that is down. A damaged file stops nobody."""
    try:
        raw = (app.state / "live" / "release.json").read_bytes()
        domains = msgspec.json.decode(raw, type=_Sealed).domains
        return domains or wanted((), app.settings.port)
    except (OSError, msgspec.DecodeError, StateError):
        return ()

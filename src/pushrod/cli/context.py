"""Which root, app, store and engine a command is about."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pushrod.adapters import git
from pushrod.cli import announcing, recording
from pushrod.cli.host_context import caller, default_root, may_push, permitted, stepped_down, visible
from pushrod.cli.output import Steps
from pushrod.cli.watched import WatchedSteps
from pushrod.core.errors import PushrodError, RepositoryError, UnknownNameError
from pushrod.core.values import Service
from pushrod.engines import registry
from pushrod.state import upgrades
from pushrod.state.apps import App, Root
from pushrod.state.journal import Journal
from pushrod.stores.registry import products
from pushrod.system import locks

if TYPE_CHECKING:
    from pushrod.releases.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])


def with_app(command: F) -> F:
    """Add --root and --app, for every verb about one app."""
    command = click.option("--app", "app_name", help="The app; by default that of the current repository.")(
        command
    )
    return with_root(command)


def with_root(command: F) -> F:
    """Add --root, which is accepted both before and after the verb."""
    return click.option("--root", help="Where pushrod keeps its state (also PUSHROD_ROOT).")(command)


def with_store(command: F) -> F:
    """Add --store, for every verb about one store."""
    return click.option("--store", default="", help="The store, if the app has several.")(command)


def with_json(command: F) -> F:
    """Add --json, for every verb that only reads."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def find_root(root: str | None, directory: Path | None = None) -> Root:
    """The root: --root, PUSHROD_ROOT, the root of the repository's `pushrod` remote, this host's, else the user's
    own.

    On a host's root, a process of root continues as the account that owns it. A call through the gate always gets
    the root of its key, whatever it specifies.
    """
    where = _settled(root, directory)
    recording.begun(where)
    return where


def _settled(root: str | None, directory: Path | None) -> Root:
    if who := caller():
        return who.root
    return stepped_down(_find_root(root, directory))


def _find_root(root: str | None, directory: Path | None) -> Root:
    given = root or click.get_current_context().find_root().obj
    if given:
        return Root(Path(given))
    remote = _remote(directory or Path.cwd())
    if remote is not None:
        return Root(remote.parent.parent.parent)
    if (hosted := default_root()) is not None:
        return Root(hosted)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Root(Path(data) / "pushrod")


def find_app(root: str | None, name: str | None, directory: Path | None = None) -> App:
    """The app: --app, the repository's, or the only one of the root; interrupted work on it is finished first."""
    return finished(named_app(root, name, directory))


def finished(app: App) -> App:
    """The app, after an interrupted command's leftovers are finished or undone.

    Does nothing while another command works on it. If recovery fails, the failure is reported and the calling
    command goes on; a command that depends on the recovery fails with the same error.
    """
    try:
        cut_off = Journal(app.journal).story().open is not None or upgrades.pending(app)
        if cut_off and not locks.locked(app.lock):
            with pipeline(app).locked("finishing an interrupted command"):
                pass
    except PushrodError as e:
        Steps().note(f"{app.name}: {e.what}")
    return app


def named_app(root: str | None, name: str | None, directory: Path | None = None) -> App:
    """The app, like `find_app`, without recovery."""
    where = _settled(root, directory)
    app = _named(where, name, directory)
    recording.begun(where, app.name)
    return app


def _named(where: Root, name: str | None, directory: Path | None) -> App:
    if name:
        return where.app(permitted(name))
    remote = None if caller() else _remote(directory or Path.cwd())
    if remote is not None and remote.parent.parent.parent == where.path:
        return where.app(permitted(remote.parent.name))
    apps = visible(where)
    if len(apps) == 1:
        return apps[0]
    names = ", ".join(a.name for a in apps) or "none"
    raise UnknownNameError(
        "which app? the current repository has no `pushrod` remote",
        where=str(where.path),
        hint=f"add --app NAME; apps: {names}",
    )


def chosen(known: list[str], store: str, what: str, stores: Iterable[Service] = ()) -> str:
    """The store of that name among the `known` ones, which are `what`, or the only one. `stores` are all stores of
    the app."""
    if store in known or (not store and len(known) == 1):
        return store or known[0]
    others = {n: title for n, title in products(stores).items() if n not in known and store in ("", n)}
    if others and (store or not known):
        named = ", ".join(f"{name} is {title}" for name, title in others.items())
        raise UnknownNameError(f"this needs {what}; {named}", hint="`pushrod status` lists the app's stores")
    if not known:
        raise UnknownNameError(f"the app has no {what}", hint="`pushrod status` lists its stores")
    problem = f"no store `{store}`" if store else "which store?"
    raise UnknownNameError(problem, hint=f"add --store NAME; stores: {', '.join(known)}")


def pipeline(app: App) -> "Pipeline":
    """The pipeline of an app, with its steps on stderr. Imported only when there is work for it."""
    from pushrod.releases.pipeline import Pipeline

    announcing.at_end(app)
    return Pipeline(app, registry.of(app.root), WatchedSteps(app), may_push, recording.caller_name())


def _remote(directory: Path) -> Path | None:
    """The bare repository on this machine that the `pushrod` remote of a work tree points to, if any."""
    try:
        url = git.remote_url(git.toplevel(directory))
    except RepositoryError:
        return None
    path = Path(url)
    return path if url and path.name == "repo.git" and path.is_absolute() else None

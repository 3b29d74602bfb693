"""The commands that Git's hooks in an app's repository call: `pre-receive` deploys, `proc-receive` reports."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click

from pushrod.adapters import git, reporting
from pushrod.cli import admission, detached, preloading, recording
from pushrod.cli.context import find_root, finished, pipeline
from pushrod.cli.terminal import echo
from pushrod.core.errors import PushrodError, RepositoryError
from pushrod.core.lines import split
from pushrod.releases import app_lifecycle
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.system import locks, signals

_UPDATES = 200_000  # characters of the list of updates; one takes about 120
_DEPLOYED = f"refs/heads/{git.BRANCH}"
_TAGS = "refs/tags/"


class _Update(NamedTuple):
    """One line of the input of `pre-receive` (githooks(5))."""

    old: str
    new: str
    ref: str


@click.command("hook", hidden=True)
@click.argument("app_name")
@click.argument("name", type=click.Choice(["pre-receive", "proc-receive"]))
def hook_command(app_name: str, name: str) -> None:
    """Called by Git, not by people."""
    app = find_root(None).app(app_name)
    if name == "pre-receive":
        updates = sys.stdin.read(_UPDATES + 1)
        live = detached.apart(lambda: _is_live(app, updates))
        preloading.begin()
        _record(app)
        with signals.interruptible():
            pre_receive(app, updates, live)
    else:
        proc_receive(app.repository, sys.stdin.buffer, sys.stdout.buffer)


def _is_live(app: App, updates: str) -> bool:
    """Whether the pushed commit is live according to the journal, which alone decides that."""
    live = Releases(app).read(Journal(app.journal).story().live).commit
    pushed = [update.new for update in _parsed(updates) if update.ref == _DEPLOYED]
    return [git.resolve(app.repository, name, quarantine=os.environ) for name in pushed] == [live]


def _record(app: App) -> None:
    """Record the push in the audit log; if it came through the gate, its beginning is recorded already."""
    record = recording.of()
    record.root, record.who, record.what, record.app = app.root, recording.local_caller(), "push", app.name
    record.act = int(os.environ.get(recording.ACT) or 0)
    record.begin()


@click.command("recover", hidden=True)
@click.option("--after-input", is_flag=True)
@click.argument("app_name")
def recover_command(app_name: str, after_input: bool) -> None:
    """Finish or undo an interrupted promotion or upgrade. Called by the app's unit at boot, not by people. An upgrade
    calls it with --after-input: it then waits for the end of its standard input, which is the end of the upgrade."""
    root = find_root(None)
    while after_input and os.read(0, 1024):
        pass
    finished(root.app(app_name))


def pre_receive(app: App, updates: str, on_live: Callable[[], None] = lambda: None) -> None:
    """Deploy a push to the deployed branch; any error rejects the push and leaves the old release serving.

    A commit pushed for planning is only stored. A push may include tags (`push.followTags`) of commits in the
    history of the deployed one.
    """
    if "GIT_PUSH_CERT" in os.environ:
        raise RepositoryError("push certificates are not accepted", hint="git push --no-signed")
    pushed = _parsed(updates)
    tags = [update for update in pushed if update.ref.startswith(_TAGS) and not git.is_zero(update.new)]
    quarantine = dict(os.environ)
    admission.check_room(app)
    own = [tag.ref for tag in tags if tag.ref.startswith(f"{git.OWN_TAGS}/")]
    tags = [tag for tag in tags if tag.ref not in own]
    if not app_lifecycle.are_current(app):  # its hooks are from an older pushrod
        reports = git.reports(app.repository) or not (app.repository / "config").exists()
        app_lifecycle.make_places(app)
        if not reports:  # Git would move the branch itself, fail, and report a live release as rejected
            raise RepositoryError(
                "the settings of the app's repository were lost", hint="push again: they are restored now"
            )
        if own:  # Git has already read the old settings for this push, and would create the tags
            raise RepositoryError("tags below release/ are pushrod's own", where=own[0], hint="push again")
    if own:
        echo("note: tags below release/ are pushrod's own; the pushed ones are not accepted", err=True)
    pushed = [update for update in pushed if update.ref not in own]
    if not pushed:
        return
    if tags and tags == pushed:
        _check_tags(app, tags, git.branch_commit(app.repository), quarantine)
        return
    update = _one_update([update for update in pushed if update not in tags])
    commit = git.pushed_commit(app.repository, update.new, update.ref, quarantine=quarantine)
    _check_tags(app, tags, commit, quarantine)
    admission.check(app, app.repository, commit, quarantine=quarantine)
    pack = git.transfer(app.repository, app.repository, commit, quarantine=quarantine)
    if update.ref == _DEPLOYED:
        try:
            _deploy(app, update.old, commit, on_live)
        except BaseException:
            if pack:
                _remove_refused(app, commit, pack)
            raise
    else:
        recording.add(f"commit {commit}, to be planned")


def _remove_refused(app: App, commit: str, pack: Path) -> None:
    """Remove the commits of a refused push; if another command works on the app, pruning does it later."""
    with (
        contextlib.suppress(PushrodError, OSError),
        signals.uninterrupted(),
        locks.lock(app.lock, purpose="removing a refused push", timeout=0),
    ):
        if commit not in {release.commit for release in Releases(app).all()}:
            git.remove_pack(app.repository, commit, pack)


def _deploy(app: App, old: str, new: str, on_live: Callable[[], None]) -> None:
    line = pipeline(app)
    recording.add(f"commit {new}")
    release = line.deploy(new, replacing="" if git.is_zero(old) else old, on_live=on_live)
    recording.add(f"release {release.number}")
    admission.record(app, new)
    echo(f"live: {line.url} (release {release.number})", err=True)


def _parsed(updates: str) -> list[_Update]:
    """The updates that Git passes to the hook. A ref's name contains no space (git-check-ref-format(1))."""
    if len(updates) > _UPDATES:
        hint = f"push fewer tags at once, or none: git push --no-follow-tags pushrod HEAD:{git.BRANCH}"
        raise RepositoryError("too many refs in one push", hint=hint)
    return [_Update(*line.split(" ", 2)) for line in split(updates) if line.count(" ") >= 2]


def _check_tags(app: App, tags: Sequence[_Update], commit: str, quarantine: Mapping[str, str]) -> None:
    """Refuse a tag on a commit outside the deployed branch's history: only that history was checked."""
    for tag in tags:
        if tag.ref == f"{_TAGS}{git.BRANCH}":
            raise RepositoryError(
                f"Git makes a tag of `{git.BRANCH}` where no branch of that name is there yet",
                where=tag.ref,
                hint=f"git push pushrod TAG:{_DEPLOYED} deploys a tag's commit",
            )
        tagged = git.pushed_commit(app.repository, tag.new, tag.ref, quarantine=quarantine)
        if not commit or not git.is_ancestor(app.repository, tagged, commit, quarantine=quarantine):
            raise RepositoryError(
                f"only `{git.BRANCH}` is deployed, not {tag.ref}",
                hint=f"git push pushrod {tag.ref.removeprefix(_TAGS)}:{git.BRANCH} deploys it; "
                "tags are accepted along with a commit that contains theirs",
            )


def _one_update(updates: Sequence[_Update]) -> _Update:
    if len(updates) == 1 and updates[0].ref == f"{git.PLANS}/{updates[0].new}":
        return updates[0]
    if not updates:
        raise RepositoryError(
            "the push contains no commit to deploy", hint=f"git push pushrod HEAD:{git.BRANCH}"
        )
    for update in updates:
        if update.ref != _DEPLOYED:
            raise RepositoryError(
                f"only `{git.BRANCH}` is deployed, not {update.ref}",
                hint=f"git push pushrod HEAD:{git.BRANCH}",
            )
        if git.is_zero(update.new):
            raise RepositoryError(
                f"`{git.BRANCH}` cannot be deleted: it is the running code",
                hint="`pushrod down` stops the app",
            )
    return updates[0]


def proc_receive(repository: Path, source: BinaryIO, target: BinaryIO) -> None:
    """Report to Git where each ref is; the hook calls this in repositories made by an older pushrod."""
    reporting.report(str(repository), source, target)

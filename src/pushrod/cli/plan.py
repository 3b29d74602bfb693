"""plan: what deploying a commit would change."""

import re
from pathlib import Path
from typing import NoReturn

import click

from pushrod.adapters import git
from pushrod.cli import admission, host_context, remote
from pushrod.cli.context import find_app, find_root, pipeline, with_app, with_json
from pushrod.cli.output import print_json, print_table
from pushrod.cli.terminal import Styled, echo
from pushrod.core.errors import RepositoryError
from pushrod.releases import secret_scan
from pushrod.state.apps import App, check_file


@click.command("plan")
@click.argument("ref", default="HEAD")
@click.option("--file", default="", help="Read this compose file of the commit instead of the app's own.")
@with_app
@with_json
def plan_command(ref: str, file: str, app_name: str | None, root: str | None, as_json: bool) -> None:
    """Show what deploying REF would change, by default HEAD."""
    from pushrod.releases import planning

    file = check_file(file)
    if there := remote.find(root, app_name):
        _plan_there(there, ref, file, as_json=as_json)
    if not (_is_whole(ref) or host_context.caller()):
        find_root(
            root
        )  # root goes on as a host's account, from whose repositories Git reads only as that account
        git.toplevel(Path())  # outside a repository that is the error, whatever apps there are
    app = find_app(root, app_name)
    commit = stored(app, ref)
    plan = planning.of(pipeline(app).context, commit, file)
    if as_json:
        print_json(plan)
        return
    echo(plan.because)
    echo(f"{app.name}: {commit[:7]} “{git.subject(app.repository, commit)}”")
    print_table(("WHAT", "NAME", "", ""), [(c.what, c.name, c.action, c.detail) for c in plan.changes])
    for need in plan.needs:
        short = Styled("" if need.met else "  too little", bold=True)
        echo(
            f"needs {need.required >> 20} MiB of {need.what}, {need.free >> 20} MiB are free: {need.why}",
            short,
        )
    for name in plan.lacking:
        echo(f"lacks {name}, which .env.example asks for: pushrod secret set {name}")
    for note in plan.notes:
        echo(f"note: {note}")


def _is_whole(ref: str) -> bool:
    """Whether it is the ID of a commit in full, for which no work tree is needed."""
    return bool(re.fullmatch("[0-9a-f]{40}([0-9a-f]{24})?", ref))


def stored(app: App, ref: str) -> str:
    """The commit that a name refers to, stored in the app's repository. No work tree is needed if it is already
    there."""
    if _is_whole(ref) and git.is_commit(app.repository, ref):
        return git.resolve(app.repository, ref)
    if host_context.caller():  # a caller over SSH has no work tree on this machine
        raise RepositoryError(
            f"the app's repository has no commit `{ref}`",
            where=app.name,
            hint="refused commits are not kept; `pushrod plan` in your work tree sends it",
        )
    tree = git.toplevel(Path())
    commit = git.resolve(tree, ref)
    admission.check(app, tree, commit)
    git.transfer(tree, app.repository, commit)
    return commit


def _plan_there(there: remote.Remote, ref: str, file: str, *, as_json: bool) -> NoReturn:
    """Plan a commit on the machine that has the app: it is sent there, but not deployed."""
    tree = git.toplevel(Path())
    commit = git.resolve(tree, ref)
    secret_scan.check(tree, commit)
    there.push(f"{commit}:{git.PLANS}/{commit}", "--quiet", f"--receive-pack=git-receive-pack {git.THERE}")
    options = [*(["--file", file] if file else []), *(["--json"] if as_json else [])]
    there.run("plan", "--app", there.app, *options, commit)

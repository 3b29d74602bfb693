"""export: an app as files that run it without pushrod."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from pushrod.adapters import git
from pushrod.cli import export_files, host_context, remote
from pushrod.cli.context import find_app, with_app, with_json
from pushrod.cli.host_context import may_push
from pushrod.cli.output import Steps, echo_lines, print_json
from pushrod.cli.plan import stored
from pushrod.cli.terminal import echo
from pushrod.core.errors import RepositoryError, UnknownNameError
from pushrod.core.values import Value
from pushrod.engines import plain_compose, registry
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import bases, objects
from pushrod.engines.kubernetes.objects import Cluster
from pushrod.releases import exporting, secret_scan
from pushrod.releases.context import Context
from pushrod.system import processes

F = TypeVar("F", bound=Callable[..., Any])
_TIMEOUT = 600.0  # seconds for an export on another machine


class Export(Value, frozen=True):
    """An export: its files by path, which keys each file or object of secrets has, and what is not exported."""

    app: str
    release: str
    commit: str
    files: dict[str, str]
    secrets: dict[str, tuple[str, ...]]
    notes: tuple[str, ...] = ()


class Images(click.ParamType[str]):
    """`SERVICE=REFERENCE`."""

    name = "service=reference"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if it has both parts."""
        if not re.fullmatch(r"[^=\s]+=[^=\s]+", str(value)):
            self.fail(f"`{value}` is not SERVICE=REFERENCE", param, ctx)
        return str(value)


@click.group("export")
def export_command() -> None:
    """Write an app as files that run it without pushrod."""


def _with_options(command: F) -> F:
    """What both exports have in common."""
    for option in (
        click.option("--with-secrets", is_flag=True, default=None, help="Also write the values of secrets."),
        click.option("--edge-image", default="", help="The edge's image: nginx 1.27.4 or newer."),
        click.option(
            "--image",
            "images",
            multiple=True,
            type=Images(),
            help="SERVICE=REFERENCE: the image of a service.",
        ),
        click.option(
            "--registry", default="", help="The registry of built images: registry.example.com/team."
        ),
        click.option("--commit", default="", help="Export this commit instead of the live release."),
    ):
        command = option(command)
    return command


@export_command.command("kubernetes")
@click.argument("directory", default="kubernetes", type=click.Path(path_type=Path))
@_with_options
@click.option("--namespace", default="", help="The app's namespace; by default its name.")
@click.option("--cluster-version", default="1.34", help="The cluster's version, from 1.20 on.")
@with_app
@with_json
def kubernetes_command(
    directory: Path, namespace: str, cluster_version: str, as_json: bool, **given: Any
) -> None:
    """Write a Kustomize base into DIRECTORY, by default ./kubernetes.

    docs/cluster.md explains how to apply it.
    """
    version = _version(cluster_version)
    if namespace and not objects.is_label(namespace):
        raise UnknownNameError(
            f"`{namespace}` is not the name of a namespace", hint="small letters, digits, dashes"
        )

    def render(x: Exported, values: bool) -> Export:
        edge = given["edge_image"] or objects.EDGE
        cluster = Cluster(namespace or x.app, version, edge)
        whole = bases.render(x, cluster)
        files = bases.files(x, whole, values=values)
        return Export(x.app, x.release, x.commit, files, whole.needed, whole.notes)

    words = ["kubernetes", "--cluster-version", cluster_version]
    words += ["--namespace", namespace] if namespace else []
    there = remote.find(given["root"], given["app_name"])
    _export(there, directory, words, render, as_json=as_json, **given)


@export_command.command("compose")
@click.argument("directory", default="compose", type=click.Path(path_type=Path))
@_with_options
@with_app
@with_json
def compose_command(directory: Path, as_json: bool, **given: Any) -> None:
    """Write plain Compose into DIRECTORY, by default ./compose.

    `docker compose up` there runs the app.
    """
    source = _source(directory)

    def render(x: Exported, values: bool) -> Export:
        files = plain_compose.files(x, source, given["edge_image"] or objects.EDGE, values=values)
        return Export(x.app, x.release, x.commit, files, plain_compose.needed(x))

    there = remote.find(given["root"], given["app_name"])
    _export(there, directory, ["compose"], render, as_json=as_json, built=True, **given)


def _source(directory: Path) -> str:
    """The work tree as seen from a directory: where the files of the commit are."""
    try:
        return os.path.relpath(git.toplevel(Path()), directory.resolve())
    except RepositoryError:
        return ".."


def _version(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"v?1\.([0-9]{1,2})(?:\..*)?", text)
    if match is None or int(match[1]) < 20:
        raise UnknownNameError(f"`{text}` is not a version of Kubernetes", hint="1.20 or newer, such as 1.34")
    return 1, int(match[1])


def _export(
    there: remote.Remote | None,
    directory: Path,
    words: Sequence[str],
    render: Callable[[Exported, bool], Export],
    *,
    as_json: bool,
    built: bool = False,
    **given: Any,
) -> None:
    values = bool(given["with_secrets"])
    if there:
        export = _asked(there, words, given)
        export = _here(export, directory) if built else export
    else:
        if host_context.caller() and not as_json:
            raise UnknownNameError("a key cannot write files of the host", hint="--json prints them")
        export = _made(render, built=built, values=values, **given)
    if as_json:
        print_json(export)
        return
    for note in export.notes:
        echo(f"note: {note}", err=True)
    export_files.write(directory, export.files, bases.SECRETS)
    echo(f"{len(export.files)} files of {export.app}, release {export.release}, in {directory}")
    if export.secrets and not values:
        echo("values that are not in it (--with-secrets writes them):")
        for name, keys in export.secrets.items():
            echo(f"  {name}: {', '.join(keys)}")


def _made(
    render: Callable[[Exported, bool], Export],
    *,
    built: bool,
    values: bool,
    app_name: str | None,
    root: str | None,
    commit: str,
    **given: Any,
) -> Export:
    app = find_app(root, app_name)
    context = Context(app, registry.reading(app.root), Steps(), may_push)
    images = dict(one.split("=", 1) for one in given["images"])
    chosen = exporting.of_commit(context, stored(app, commit)) if commit else exporting.of_live(context)
    oid, release, number = chosen
    reading = exporting.Exporting(context, oid, app.checkouts / f"export-{os.getpid()}", values=values)
    try:
        exported = reading.read(release, number, given["registry"], images, built=built)
        return render(exported, values)
    finally:
        reading.close()


def _asked(there: remote.Remote, words: Sequence[str], given: dict[str, Any]) -> Export:
    """The same from the machine that has the app; a commit is sent there first, but not deployed."""
    options = [*words, "--app", there.app, "--json"]
    if given["commit"]:
        tree = git.toplevel(Path())
        oid = git.resolve(tree, given["commit"])
        secret_scan.check(tree, oid)
        there.push(f"{oid}:{git.PLANS}/{oid}", "--quiet", f"--receive-pack=git-receive-pack {git.THERE}")
        options += ["--commit", oid]
    for name in ("registry", "edge_image"):
        options += [f"--{name.replace('_', '-')}", given[name]] if given[name] else []
    options += [word for one in given["images"] for word in ("--image", one)]
    if given["with_secrets"]:
        raise UnknownNameError("secrets do not leave the server this way", hint="run it there, as its owner")
    done = processes.run(there.argv("export", *options), timeout=_TIMEOUT)
    echo_lines(done.stderr, err=True)
    if done.status != 0:
        sys.exit(done.status)
    return msgspec.json.decode(done.stdout, type=Export)


def _here(export: Export, directory: Path) -> Export:
    """An export of another machine, with the commit's files where they are on this one."""
    return msgspec.structs.replace(export, files=plain_compose.moved(export.files, _source(directory)))

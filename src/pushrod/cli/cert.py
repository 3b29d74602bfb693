"""cert: certificates of the apps, and their renewal."""

import os
from pathlib import Path

import click

from pushrod.adapters import openssl
from pushrod.cli import host_context, remote, sent
from pushrod.cli.context import find_app, find_root, with_app, with_json
from pushrod.cli.host_context import visible
from pushrod.cli.output import Steps, conclude, print_json, print_table
from pushrod.cli.terminal import echo
from pushrod.core.amounts import age
from pushrod.core.errors import HostError, PushrodError
from pushrod.engines import registry
from pushrod.engines.docker import host_edge, own_sites
from pushrod.ingress.certificates import Certificates
from pushrod.releases import renewal
from pushrod.state.apps import Root
from pushrod.system import signals


@click.group("cert")
def cert_command() -> None:
    """Manage the TLS certificates of apps."""


@cert_command.command("list", cls=remote.Verb)
@with_app
@with_json
def list_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the apps that have a certificate, or should have one."""
    rows = renewal.listed([find_app(root, app_name)] if app_name else visible(find_root(root)))
    if as_json:
        print_json(rows)
    elif not rows:
        echo("none; `x-pushrod.tls` in a manifest asks for one")
    else:
        cells = [(r.app, ", ".join(r.names), r.source, _left(r.ends), r.problem) for r in rows]
        print_table(("APP", "NAMES", "SOURCE", "ENDS IN", ""), cells)


def _left(ends: str) -> str:
    if not ends:
        return "-"
    left = renewal.left(ends)
    return age(left) if left > 0 else "expired"


@cert_command.command("renew", cls=remote.Verb)
@click.option("--all", "every", is_flag=True, help="Every app, like the timer.")
@click.option("--force", is_flag=True, help="Renew even if it is not due.")
@with_app
def renew_command(every: bool, force: bool, app_name: str | None, root: str | None) -> None:
    """Obtain the app's certificate, or renew it if it is due.

    If that fails, the previous certificate stays in use.
    """
    apps = visible(find_root(root)) if every else [find_app(root, app_name)]
    failed: list[PushrodError] = []
    with signals.interruptible():
        outcomes = renewal.renew(registry.of(find_root(root)), apps, Steps(), force=force, wait=not every)
        for outcome in outcomes:
            if isinstance(outcome, PushrodError):
                failed.append(outcome)
            else:
                app, kept = outcome
                echo(f"{app.name}: certificate until {kept.certificate.ends[:10]}")
        if every and host_context.caller() is None:
            failed += _own(find_root(root), force)
    conclude(failed)


def _own(root: Root, force: bool) -> list[PushrodError]:
    """Renew the certificate of the host's page, if it has a domain; returns what failed."""
    if not registry.traits(root).hosted:
        return []
    try:
        kept = own_sites.certify(root, host_edge.of(root), force=force)
    except PushrodError as e:
        return [e.of("the page")]
    if kept:
        echo(f"the page: certificate until {kept.certificate.ends[:10]}")
    return []


@cert_command.command("set")
@click.option(
    "--certificate",
    required=True,
    help="PEM file with the certificate and intermediate ones; - for standard input.",
)
@click.option("--key", help="PEM file with the private key, if it is not in the certificate's file.")
@with_app
def set_command(certificate: str, key: str | None, app_name: str | None, root: str | None) -> None:
    """Store your own certificate for the app.

    The app uses it if its manifest says `x-pushrod.tls.source: files`.
    """
    given = [name for name in (certificate, key) if name]
    if there := remote.find(root, app_name):
        there.feed("\n".join(map(_text, given)), "cert", "set", "--certificate", "-", "--app", there.app)
    app = find_app(
        root, app_name
    )  # first: on a Docker host root becomes the host's account here, in a new process
    texts = [_text(name) for name in given]
    with signals.interruptible():
        described, placed = renewal.give(app, registry.of(app.root), Steps(), openssl.pair(*texts))
    then = "served" if placed else "stored; releases with `x-pushrod.tls.source: files` use it"
    echo(f"{app.name}: certificate for {', '.join(described.names)} until {described.ends[:10]}, {then}")


def _text(name: str) -> str:
    if name == "-":
        return sent.text()
    if not os.access(name, os.R_OK) or not Path(name).is_file():
        raise HostError(
            "the file does not exist or is not readable",
            where=name,
            hint="name a PEM file, or use standard input: -",
        )
    return Path(name).read_text(errors="replace")


@cert_command.command("unset", cls=remote.Verb)
@with_app
def unset_command(app_name: str | None, root: str | None) -> None:
    """Remove the certificate stored by `pushrod cert set`.

    The edge keeps serving it until the manifest names another source.
    """
    there = Certificates(find_app(root, app_name)).take_back()
    echo("removed" if there else "no certificate was stored")

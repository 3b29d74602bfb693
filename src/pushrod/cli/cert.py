"""cert: certificates of the apps, and their renewal."""

import os
from pathlib import Path

import click

from pushrod.adapters import openssl
from pushrod.cli import remote, sent
from pushrod.cli.context import find_app, find_root, with_app, with_json
from pushrod.cli.host_context import visible
from pushrod.cli.output import Steps, age, conclude, print_json, print_table
from pushrod.cli.terminal import say
from pushrod.core.errors import HostError, PushrodError
from pushrod.engines import registry
from pushrod.ingress.certificates import Certificates
from pushrod.releases import renewal
from pushrod.system import signals


@click.group("cert")
def cert_command() -> None:
    """Certificates, with which apps are served by TLS."""


@cert_command.command("list", cls=remote.Verb)
@with_app
@with_json
def list_command(app_name: str | None, root: str | None, as_json: bool) -> None:
    """List the apps with a certificate, or that should have one."""
    rows = renewal.listed([find_app(root, app_name)] if app_name else visible(find_root(root)))
    if as_json:
        print_json(rows)
    elif not rows:
        say("none; `x-pushrod.tls` in a manifest asks for one")
    else:
        cells = [(r.app, ", ".join(r.names), r.source, _left(r.ends), r.problem) for r in rows]
        print_table(("APP", "NAMES", "SOURCE", "ENDS IN", ""), cells)


def _left(ends: str) -> str:
    if not ends:
        return "-"
    left = renewal.left(ends)
    return age(left) if left > 0 else "expired"


@cert_command.command("renew", cls=remote.Verb)
@click.option("--all", "every", is_flag=True, help="Every app, as the timer does.")
@click.option("--force", is_flag=True, help="Also what would do for longer.")
@with_app
def renew_command(every: bool, force: bool, app_name: str | None, root: str | None) -> None:
    """See to the app's certificate: get it, or a newer one if it is time.

    What was served goes on being served where that fails.
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
                say(f"{app.name}: certificate until {kept.certificate.ends[:10]}")
    conclude(failed)


@cert_command.command("set")
@click.option(
    "--certificate",
    required=True,
    help="PEM file with the certificate and the intermediate ones; - for stdin.",
)
@click.option("--key", help="PEM file with the private key, if it is not in the certificate's file.")
@with_app
def set_command(certificate: str, key: str | None, app_name: str | None, root: str | None) -> None:
    """Give the app a certificate of your own, for `x-pushrod.tls.source: files`."""
    given = [name for name in (certificate, key) if name]
    if there := remote.find(root, app_name):
        there.feed("\n".join(map(_text, given)), "cert", "set", "--certificate", "-", "--app", there.app)
    app = find_app(
        root, app_name
    )  # first: on a Docker host root becomes the host's account here, in a new process
    texts = [_text(name) for name in given]
    with signals.interruptible():
        described, placed = renewal.give(app, registry.of(app.root), Steps(), openssl.pair(*texts))
    then = "served" if placed else "kept; a release with `x-pushrod.tls.source: files` is served with it"
    say(f"{app.name}: certificate for {', '.join(described.names)} until {described.ends[:10]}, {then}")


def _text(name: str) -> str:
    if name == "-":
        return sent.text()
    if not os.access(name, os.R_OK) or not Path(name).is_file():
        raise HostError(
            "no such file, or not to be read", where=name, hint="name a PEM file, or give it by stdin: -"
        )
    return Path(name).read_text(errors="replace")


@cert_command.command("unset", cls=remote.Verb)
@with_app
def unset_command(app_name: str | None, root: str | None) -> None:
    """Forget what `pushrod cert set` was given; what is served stays until the manifest says otherwise."""
    there = Certificates(find_app(root, app_name)).take_back()
    say("forgotten" if there else "nothing was given")

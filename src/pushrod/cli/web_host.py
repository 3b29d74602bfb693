"""The web page of a Docker host: what systemd starts for it, and the way to it over SSH."""

import json
import os
import re
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path

import click
import msgspec

from pushrod.cli import recording
from pushrod.cli.context import find_root, with_root
from pushrod.cli.terminal import at_terminal, echo
from pushrod.core.errors import HostError
from pushrod.engines import registry
from pushrod.engines.docker import host_edge, own_sites
from pushrod.provisioning import gate, host_settings
from pushrod.state.apps import Root
from pushrod.system import files, network, processes, relay, relay_client, waits
from pushrod.web.access import LINK_MINUTES, Access
from pushrod.web.calls import Call

IDLE = 600.0
"""Seconds without a request after which the page ends itself."""

_LONGEST_CALL = 64 << 10  # bytes
_LINK = re.compile(r"/enter\?link=[A-Za-z0-9_-]{43}")
_ON = re.compile(r"[A-Za-z0-9._-]{1,64}@[A-Za-z0-9._:\[\]-]{1,255}")


@click.command("serve", hidden=True)
@with_root
def serve_command(root: str | None) -> None:
    """Serve the page on the socket that systemd has opened, until it has had no request for ten minutes."""
    from pushrod.adapters import systemd
    from pushrod.web import answers, pages, server
    from pushrod.web.calls import Calls
    from pushrod.web.guard import Hosts
    from pushrod.web.runs import Runs
    from pushrod.web.states import HostProcesses
    from pushrod.web.streams import Limit

    where = find_root(root)
    settings = host_settings.read(where)
    listening = server.given()
    if not listening:
        raise HostError("systemd starts this", hint="pushrod host web on")
    door = [sys.executable, "-I", "-S", relay_client.__file__, str(systemd.RUNTIME / "web-call")]
    calls = Calls(door)
    runs = Runs(calls)
    traits = registry.traits(where)
    site = answers.Site(
        where,
        traits,
        Access(where),
        HostProcesses(calls),
        calls,
        Hosts(settings.web, settings.domain),
        runs,
        Limit(),
    )
    server.serve(pages.make(site), listening, idle=IDLE, busy=runs.busy)


@click.command("door", hidden=True)
@with_root
def door_command(root: str | None) -> None:
    """Read one call of the page from a socket, the standard input, and send back what the verb prints."""
    where = find_root(root)
    page = socket.socket(fileno=os.dup(0))
    argv = [sys.executable, "-P", "-m", "pushrod", "web", "call", "--root", str(where.path)]
    sys.exit(relay.serve(page, argv, stay=_changes(relay.first_line(page, _LONGEST_CALL))))


def _changes(line: bytes) -> bool:
    """Whether a call may change something, so that it goes on when the page is gone."""
    try:
        words = msgspec.json.decode(line, type=Call).words
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    rules = (gate.VERBS.get(" ".join(words[:n])) for n in (1, 2))
    return any(rule is not None and not rule.read_only for rule in rules)


@click.command("certify", hidden=True)
@with_root
def certify_command(root: str | None) -> None:
    """Obtain or renew the certificate of the page's domain, and serve it; called by `pushrod host web on`."""
    where = find_root(root)
    kept = own_sites.certify(where, host_edge.of(where))
    if kept is not None:
        echo(f"the page: certificate until {kept.certificate.ends[:10]}")


def address(root: Root) -> str:
    """The page's address at its domain; empty if it has none."""
    return f"https://{root.own_domain}" if root.own_domain else ""


@click.command("link", hidden=True)
@with_root
def link_command(root: str | None) -> None:
    """Print the page's port and a link for the calling owner, as JSON: for `pushrod web --on`."""
    where = find_root(root)
    port = host_settings.read(where).web
    if not port:
        raise HostError("the page of this host is off", hint="on it, as root: pushrod host web on")
    name = re.sub(r"[^A-Za-z0-9._@-]", "-", recording.caller_name())[:64] or "owner"
    token = Access(where).own(name)
    recording.add(f"{name} is owner of all apps")
    echo(json.dumps({"port": port, "link": f"/enter?link={token}"}))


def no_page_here(root: Root) -> HostError:
    """The error of `web open` on a host, where systemd starts the page."""
    port = host_settings.read(root).web
    if not port:
        return HostError("the page of this host is off", hint="as root: pushrod host web on")
    return HostError(
        f"the page of this host is at 127.0.0.1:{port}",
        hint="from your machine: pushrod web --on root@SERVER",
    )


def through(server: str, name: str, port: int, *, browser: bool) -> None:
    """Open an SSH tunnel to the page of a server, print a one-time link, and close it at Ctrl-C.

    `name` is the page's host name on loopback. Raises HostError if the server cannot be reached or has no page.
    """
    *program, _ = ssh(server)
    done = processes.run([*program, server, "pushrod web link"], timeout=60)
    if done.status != 0:
        log = tuple(done.stderr.strip().splitlines()[-5:])
        raise HostError(f"{server} gives no link (status {done.status})", log=log)
    try:
        answer = json.loads(done.stdout)
        there, link = int(answer["port"]), str(answer["link"])
        if not 0 < there < 1 << 16 or not _LINK.fullmatch(link):  # what the browser will open
            raise ValueError
    except (ValueError, KeyError, TypeError) as e:
        raise HostError(f"{server} has another version of pushrod", hint="install this one there") from e
    here = port or _free(there)
    if not network.port_is_free(here):
        raise HostError(f"port {here} of 127.0.0.1 is in use", hint="choose another with --port")
    forward = f"127.0.0.1:{here}:127.0.0.1:{there}"
    options = ["-N", "-T", "-o", "ExitOnForwardFailure=yes", "-L", forward]
    tunnel = subprocess.Popen([*program, *options, server], stdin=subprocess.DEVNULL)  # noqa: S603  an argv list
    try:
        if not waits.wait_until(lambda: tunnel.poll() is not None or network.accepts(here), 30.0, 0.1):
            raise HostError(f"the tunnel to {server} does not open")
        if tunnel.poll() is not None:
            raise HostError(f"the tunnel to {server} ended at once", hint="its message is above")
        if not network.belongs(here, os.geteuid()):  # it would get the link
            raise HostError(
                f"another account has taken port {here} of 127.0.0.1", hint="choose another with --port"
            )
        address = f"http://{name}:{here}{link}"
        echo(address)
        echo(f"The link works once, within {LINK_MINUTES} minutes. Ctrl-C closes the tunnel.", err=True)
        if browser:
            browse(Path.home() / ".cache" / "pushrod" / "open.html", address)
        tunnel.wait()
        raise HostError(f"the tunnel to {server} has ended")
    finally:
        tunnel.terminate()
        tunnel.wait(10)


def browse(page: Path, address: str) -> None:
    """Open an address in the browser by a private file: every account of the machine can read its arguments."""
    if not at_terminal() or not any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY")):
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    files.write(page, f'<meta http-equiv="refresh" content="0;url={address}">', mode=0o600)
    webbrowser.open(page.as_uri())


def ssh(server: str) -> tuple[str, ...]:
    """The argv of the SSH client that Git would use, up to the server; HostError if that is not USER@SERVER."""
    import shlex

    if not _ON.fullmatch(server) or server.startswith("-") or "@-" in server:
        raise HostError(f"`{server}` is not USER@SERVER", hint="such as root@server.example.com")
    given = os.environ.get("GIT_SSH_COMMAND")
    return (*(shlex.split(given) if given else [os.environ.get("GIT_SSH") or "ssh"]), server)


def _free(port: int) -> int:
    """That port of loopback if it is free, else another."""
    return port if network.port_is_free(port) else network.free_port()

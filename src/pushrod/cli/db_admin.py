"""db admin: pgAdmin in a browser, on an app's database here or on a server."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import msgspec

from pushrod.adapters import pgadmin
from pushrod.cli import db_tools, remote, web_host
from pushrod.cli.context import named_app, with_app, with_store
from pushrod.cli.remote import Remote
from pushrod.cli.terminal import echo, echo_json
from pushrod.core.errors import HostError, Interrupted, StoreError
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.stores.administration import Login
from pushrod.system import forwarding, signals
from pushrod.web import access

_CONNECTING = 20.0  # seconds
_ANSWERING = 120.0  # seconds for SSH, which may ask for a passphrase
_LONGEST = 1 << 16  # bytes of the first line

Opened = Callable[[], tuple[Login, socket.socket]]
"""Opens a connection to the database's server, before anybody has logged in on it."""


@click.command("admin")
@click.option(
    "--write", is_flag=True, help="With the role that migrates, instead of the one that only reads."
)
@click.option("--port", default=0, help="The port on 127.0.0.1, by default a free one.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@click.option("--on", "server", default="", metavar="USER@SERVER", help="An app of a server, over SSH.")
@with_store
@with_app
def admin_command(
    write: bool,
    port: int,
    no_browser: bool,
    server: str,
    store: str,
    app_name: str | None,
    root: str | None,
) -> None:
    """Open the app's database in pgAdmin, in the browser, until Ctrl-C.

    The first call installs pgAdmin. It may only read, unless --write is given.
    """
    elsewhere = Remote(web_host.ssh(server), app_name or "") if server else remote.find(root, app_name)
    opened: Opened
    if elsewhere:
        opened = partial(there, elsewhere, store, write)
    else:
        opened = partial(_here, named_app(root, app_name), store, write)
    with signals.interruptible():
        login, first = opened()
        first.close()
        pgadmin.install(
            pgadmin.place(), lambda: echo("Installing pgAdmin, once: 520 MB, about a minute.", err=True)
        )
        with pgadmin.home() as (directory, account):
            sockets = directory / ".s.PGSQL.5432"
            database = pgadmin.Database(
                directory, login.database, login.role, login.password, f"{login.database} as {login.role}"
            )
            name = access.loopback_name()
            with (
                forwarding.listening(sockets, lambda: _opened(opened), pgadmin.owner(account)),
                pgadmin.running(directory, account, database, name, port) as (link, child),
            ):
                echo(link)
                echo(f"pgAdmin has the role {login.role}. Ctrl-C ends it.", err=True)
                if not no_browser:
                    web_host.browse(Path.home() / ".cache" / "pushrod" / "open.html", link)
                with contextlib.suppress(Interrupted):
                    raise HostError(f"pgAdmin has ended (status {child.wait()})")


def _opened(opened: Opened) -> socket.socket:
    """A connection for pgAdmin; what is wrong is printed, because nobody else could."""
    try:
        return opened()[1]
    except (HostError, StoreError) as e:
        echo(f"no connection: {e.what}", err=True)
        raise OSError(e.what) from e


def _here(app: App, store: str, write: bool) -> tuple[Login, socket.socket]:
    login = db_tools.database(app, releases.running(app), store).login(write=write)
    try:
        return login, socket.create_connection((login.host, login.port), _CONNECTING)
    except OSError as e:
        raise StoreError(
            f"the database cannot be reached: {e.strerror or e}",
            where=f"{login.host}:{login.port}",
            hint="`pushrod status` shows why",
        ) from e


def there(server: Remote, store: str, write: bool) -> tuple[Login, socket.socket]:
    """By `pushrod db tunnel` on the other machine; exits with its status if it gives no connection."""
    words = [*(["--app", server.app] if server.app else []), *(["--write"] if write else [])]
    words += ["--store", store] if store else []
    ours, its = socket.socketpair()
    with its:
        argv = server.argv("pushrod", "db", "tunnel", *words)
        child = subprocess.Popen(argv, stdin=its.fileno(), stdout=its.fileno())  # noqa: S603  an argv list
    ours.settimeout(_ANSWERING)
    try:
        line = _first_line(ours)
        ours.settimeout(None)
        return msgspec.json.decode(line, type=Login), ours
    except (OSError, msgspec.DecodeError) as e:
        ours.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if status := child.wait(5):
                sys.exit(status)
        child.kill()
        raise HostError("the server gives no connection", hint="install this version of pushrod there") from e


def _first_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line


@click.command("tunnel", hidden=True)
@click.option("--write", is_flag=True)
@with_store
@with_app
def tunnel_command(write: bool, store: str, app_name: str | None, root: str | None) -> None:
    """Called by `db admin` over SSH: a login, and then a connection to the database's server."""
    login, connection = _here(named_app(root, app_name), store, write)
    echo_json(login, indent=None)
    sys.stdout.flush()
    connection.settimeout(None)
    forwarding.join(0, 1, connection)

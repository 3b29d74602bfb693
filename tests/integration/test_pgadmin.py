"""pgAdmin on an app's database: the way there over SSH, and the real one in a real browser.

`ssh` is replaced by a program that runs the real gate with the words that were sent, for a key of one app.
"""

import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from devtools import apps
from devtools.apps import App, Machine, eventually
from devtools.shop_page import CHROMIUM, DESKTOP, FLAGS, PATIENCE, screenshot
from pushrod.adapters import pgadmin
from pushrod.cli import db_admin
from pushrod.cli.remote import Remote
from pushrod.core.errors import HostError
from pushrod.stores.administration import Login
from pushrod.system import forwarding

pytestmark = pytest.mark.integration

FILES = {"app.py": apps.APP, "compose.yaml": apps.manifest_with_stores()}
SSH = """\
#!/bin/sh
while [ "$1" != pushrod@server ]; do shift; done
shift
cd {root}
SSH_ORIGINAL_COMMAND="$*" PUSHROD_ROOT={root} exec {python} -P -m pushrod gate tester --app shop
"""


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    app = machine.app("shop", FILES)
    assert app.get("/sql?q=create+table+goods+as+select+7+as+id").status == 200
    return app


@pytest.fixture
def ssh(shop: App, tmp_path: Path) -> str:
    program = tmp_path / "ssh"
    root, python = shlex.quote(str(shop.machine.root)), shlex.quote(sys.executable)
    program.write_text(SSH.format(root=root, python=python))
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def asked(ssh: str) -> Iterator[Callable[..., apps.Done]]:
    """Asks the app's database by psql, on a socket whose connections go through the gate."""
    owner = (os.geteuid(), os.getegid())
    with tempfile.TemporaryDirectory() as place:

        def ask(statement: str, *, write: bool = False) -> apps.Done:
            def opened() -> tuple[Login, socket.socket]:
                return db_admin.there(Remote((ssh, "pushrod@server"), "shop"), "", write)

            login, first = opened()
            first.close()
            argv = [apps.PSQL, "-X", "-At", "-h", place, "-U", login.role, "-d", login.database]
            path = Path(place, ".s.PGSQL.5432")
            path.unlink(missing_ok=True)
            with forwarding.listening(path, lambda: opened()[1], owner):
                env = {**os.environ, "PGPASSWORD": login.password}
                return apps.run([*argv, "-c", statement], Path(place), env)

        yield ask


def test_the_way_leads_to_the_apps_own_database_with_the_role_that_was_asked_for(
    shop: App, asked: Callable[..., apps.Done]
) -> None:
    assert asked("select session_user, sum(id) from goods").out == "shop_readonly|7\n"
    refused = asked("delete from goods")
    assert (refused.status, "ERROR" in refused.err) == (1, True)
    assert asked("select repeat('x', 3000000)").out == "x" * 3_000_000 + "\n"
    assert asked("select session_user, count(*) from goods", write=True).out == "shop_migrator|1\n"
    acts = shop.json("audit")
    assert {(a["by"], a["app"]) for a in acts if a["what"] == "db tunnel"} == {("tester", "shop")}
    eventually(lambda: not connected(shop), "no connection is left")


def connected(shop: App) -> bool:
    words = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]  # a zombie has none
    return any("tunnel" in argv and str(shop.machine.root) in " ".join(argv) for argv in words)


def test_a_key_for_one_app_reaches_no_other_database(shop: App, ssh: str) -> None:
    env = {**shop.machine.env, "GIT_SSH_COMMAND": ssh}
    argv = [*apps.PUSHROD, "db", "admin", "--on", "pushrod@server", "--app", "other", "--no-browser"]
    done = apps.run(argv, shop.machine.directory, env)
    assert (done.status, "this key is not for `other`" in done.err) == (12, True), done.err
    for words in (["--on", "server"], ["--on=-oProxyCommand=x@server"]):
        done = shop.pushrod("db", "admin", *words)
        assert (done.status, "is not USER@SERVER" in done.err) == (10, True), done.err


@pytest.fixture
def link(shop: App, ssh: str, tmp_path: Path) -> Iterator[str]:
    """The link that the command prints; after the test nothing of it is left."""
    env = {**shop.machine.env, "GIT_SSH_COMMAND": ssh, "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    argv = [*apps.PUSHROD, "db", "admin", "--no-browser", "--on", "pushrod@server", "--app", "shop"]
    child = subprocess.Popen(
        argv, cwd=shop.machine.directory, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert child.stdout is not None
        yield first_line(child.stdout)
        password = json.loads((shop.directory / "secrets" / "passwords.json").read_text())[
            "postgres/readonly"
        ]
        below = psutil.Process(child.pid).children(recursive=True)
        assert below
        for process in below:
            visible = " ".join(process.cmdline()) + " ".join(process.environ().values())
            assert password not in visible
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or password.encode() not in path.read_bytes(), path
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
        eventually(lambda: not any(p.is_running() for p in below), "no process of it is left")
        assert list(tmp_path.glob("pushrod-admin-*")) == []
    finally:
        child.kill()
        child.wait()


def first_line(output: IO[str]) -> str:
    return output.readline().strip()


@pytest.mark.long
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)")
def test_pgadmin_shows_the_schema_and_runs_a_query(link: str) -> None:
    name = urllib.parse.urlsplit(link)
    local = f"http://127.0.0.1:{name.port}/"
    assert status(local, name.netloc) == 401  # without the key
    assert status(f"{local}?{name.query}", f"localhost:{name.port}") == 403  # by another name
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
        expect.set_options(timeout=2 * PATIENCE)
        page.set_default_timeout(2 * PATIENCE)
        page.goto(link)
        schema(page)
        assert query(page, "select session_user, sum(id) as total from goods") == ["shop_readonly", "7"]
        screenshot(page, "pgadmin")
        browser.close()


def status(url: str, host: str) -> int:
    try:
        return int(
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=20).status
        )
    except urllib.error.HTTPError as e:
        return e.code


def schema(page: Page) -> None:
    """Open the tree down to the table's column; pgAdmin opens what is alone at its place itself."""
    names = (
        "Servers",
        "shop as shop_readonly",
        "Databases",
        "shop",
        "Schemas",
        "public",
        "Tables",
        "goods",
        "Columns",
    )

    def entry(name: str) -> Locator:
        return page.locator(".file-entry", has=page.get_by_text(name, exact=True)).last

    expect(entry("Servers")).to_be_visible()
    for name, below in itertools.pairwise((*names, "id")):
        for _ in range(4):  # it may have opened it meanwhile, and a second double click closes it
            if visible(entry(below), 10_000):
                break
            entry(name).dblclick()
        expect(entry(below)).to_be_visible()
    entry("goods").click()


def visible(place: Locator, patience: float) -> bool:
    try:
        place.wait_for(timeout=patience)
    except PlaywrightTimeout:
        return False
    return True


def query(page: Page, statement: str) -> list[str]:
    """The first row of what pgAdmin's query tool, which is a frame, shows."""
    page.keyboard.press("Alt+Shift+Q")
    tool = page.frame_locator("iframe").last
    tool.locator(".cm-content:visible").first.click()
    page.keyboard.type(statement)
    page.keyboard.press("F5")
    cells = tool.locator(".rdg-row .rdg-cell")
    expect(cells.nth(1)).to_be_visible()
    return cells.all_inner_texts()[1:]


SQUATTER = """\
#!{python}
import json, os, socket, sys, time
port = json.load(sys.stdin)["port"]
os.setuid(65534)
listening = socket.create_server(("127.0.0.1", port))
time.sleep(20)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another account")
def test_another_account_that_takes_the_port_gets_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of pgAdmin, which takes seconds to start, something of another account listens."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "python"
    program.write_text(SQUATTER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(pgadmin, "place", lambda: tmp_path)
    database = pgadmin.Database(tmp_path, "shop", "reader", "password", "shop")
    with (
        pytest.raises(HostError, match="another account has taken port"),
        pgadmin.running(tmp_path, None, database, "pushrod.localhost", 0) as (link, _),
    ):
        pytest.fail(f"the key is given away: {link}")

"""From where an image is fetched: a registry is whatever the manifest says, and leads on to wherever it likes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.system import waits
from tests.attacks.registry import Registry, registry
from tests.attacks.town import PROGRAM, Attacker, Party, Town

pytestmark = pytest.mark.lab

HEARD = "/run/heard"
LISTENS = f"""\
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open({HEARD!r}, "a") as f:
            f.write(self.path + "\\n")
        self.send_error(404)

    do_HEAD = do_GET

http.server.HTTPServer(("127.0.0.1", 7777), Handler).serve_forever()
"""


def using(image: str) -> dict[str, str]:
    """The attacker's app from this image."""
    web = {
        "image": image,
        "command": ["python", "-c", PROGRAM],
        "ports": ["8080:8080"],
        "x-pushrod": {"health": "/"},
    }
    return {
        "compose.yaml": json.dumps(
            {"x-pushrod": {"domains": ["attacker.localhost"]}, "services": {"web": web}}
        )
    }


@contextlib.contextmanager
def listening(town: Town) -> Iterator[None]:
    """A service on the host's loopback, which tells what it is asked."""
    town.box.exec("install", "-m", "666", "/dev/null", HEARD)
    town.box.exec("systemd-run", "--unit=hears", "--collect", "python3", "-c", LISTENS)
    argv = ("ss", "-ltnH", "sport = :7777")
    try:
        assert waits.wait_until(lambda: bool(town.box.exec(*argv).stdout.strip()), 10, 0.1)
        yield
    finally:
        town.box.exec("systemctl", "stop", "hears")
        town.box.exec("rm", HEARD)


@pytest.fixture
def near(town: Town, tmp_path: Path) -> Iterator[str]:
    """A registry that the attacker's builder trusts: one that runs already would not see the certificate."""
    with registry(town.box, tmp_path, "python:3.13-slim") as name:
        town.box.exec("docker", "stop", "pushrod.builder.attacker", check=False)
        yield name


def test_no_registry_is_where_the_host_alone_gets(
    town: Town, attacker: Attacker, victim: Party, near: str
) -> None:
    """Neither by its name, nor by where another leads."""
    theirs = town.box.docker(
        "inspect",
        "--format={{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
        town.container("victim"),
    ).split()[0]
    Registry.leads = "http://127.0.0.1:7777/led"
    with listening(town):
        for name in ("127.0.0.1:7777/x:1", "localhost:7777/x:1", f"{near}/leads/x:1", f"{theirs}:8080/x:1"):
            found = attacker.refused(using(name))
            assert "cannot be pulled" in found.what
            assert "pushrod apps allow attacker host-registry" in found.to_do
            assert town.box.get(HEARD) == b"", name


@pytest.mark.parametrize("which", ["tag", "digest"])
def test_what_a_registry_has_is_fetched_by_the_apps_builder(
    town: Town, attacker: Attacker, near: str, which: str
) -> None:
    image = f"{near}/some/python" + (f"@{Registry.manifest}" if which == "digest" else ":1")
    try:
        done = attacker.pushes(using(image))
        assert done.ok, done.err
        assert "pulling" in done.err
        again = attacker.pushes({**using(image), "more": which})
        assert again.ok, again.err
        assert "pulling" not in again.err
    finally:
        town.recover()


def test_the_hosts_owner_may_allow_what_the_host_alone_reaches(town: Town, attacker: Attacker) -> None:
    town.ground.pushrod("apps", "allow", "attacker", "host-registry")
    try:
        with listening(town):
            found = attacker.refused(using("127.0.0.1:7777/x:1"))
            assert "cannot be pulled" in found.what
            assert b"/v2/" in town.box.get(HEARD)
    finally:
        town.ground.pushrod("apps", "allow", "attacker", "host-registry", "--remove")

"""Where images are fetched from: the manifest names the registry, which can redirect anywhere."""

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
    """The attacker's app, using this image."""
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
    """A service on the host's loopback that records its requests."""
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


def test_registries_that_only_the_host_reaches_are_refused(
    town: Town, attacker: Attacker, victim: Party, near: str
) -> None:
    """Neither by name nor by redirection."""
    theirs = town.box.docker(
        "inspect",
        "--format={{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}",
        town.container("victim"),
    ).split()[0]
    Registry.leads = "http://127.0.0.1:7777/led"
    with listening(town):
        for name in ("127.0.0.1:7777/x:1", "localhost:7777/x:1", f"{near}/leads/x:1", f"{theirs}:8080/x:1"):
            result = attacker.refused(using(name))
            assert "cannot be pulled" in result.what
            assert "pushrod apps allow attacker host-registry" in result.to_do
            assert town.box.get(HEARD) == b"", name


@pytest.mark.long
@pytest.mark.parametrize("which", [pytest.param("tag", marks=pytest.mark.long), "digest"])
def test_the_apps_builder_fetches_images_from_a_registry(
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


def test_the_owner_can_allow_registries_that_only_the_host_reaches(town: Town, attacker: Attacker) -> None:
    town.ground.pushrod("apps", "allow", "attacker", "host-registry")
    try:
        with listening(town):
            result = attacker.refused(using("127.0.0.1:7777/x:1"))
            assert "cannot be pulled" in result.what
            assert b"/v2/" in town.box.get(HEARD)
    finally:
        town.ground.pushrod("apps", "allow", "attacker", "host-registry", "--remove")

"""The same classic stack with a Spring Boot backend on a Docker host, with its own nginx in front."""

import json
import subprocess
from typing import Any

import pytest

from devtools import classic
from devtools.lab import images
from devtools.lab.ground import Ground, Shop
from tests.conftest import needs_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def stack(ground: Ground) -> Shop:
    """Pushed once; its dependencies are downloaded in the box."""
    needs_lab(images.java_problem())
    with subprocess.Popen(["docker", "save", *images.JAVA], stdout=subprocess.PIPE) as saved:
        ground.box.exec("docker", "load", stdin=saved.stdout)
    app = ground.app("classic", classic.files())
    push(app)
    return app


def push(app: Shop) -> None:
    pushing = app.pushing()
    pushing.until("^live: |rejected", otherwise_end=True)
    pushed = pushing.done()
    assert pushed.ok, pushed.err


def answer(app: Shop) -> dict[str, Any]:
    got = app.get("/api/", timeout=60)
    assert got.status == 200, got.body
    return dict(json.loads(got.body))


def test_its_own_nginx_serves_the_page_and_the_backend_the_api(stack: Shop) -> None:
    assert b"nginx" in stack.get("/").body
    first = answer(stack)
    assert (first["version"], first["rows"]) == ("one", 0)
    assert answer(stack)["visits"] == first["visits"] + 1
    assert answer(stack)["cached"] == first["cached"]


def test_a_new_release_keeps_rows_and_the_cache_and_so_does_a_rollback(stack: Shop) -> None:
    before = answer(stack)
    stack.post("a note", path="/api/", timeout=60)
    stack.tree.commit(classic.files("two"))
    push(stack)
    after = answer(stack)
    assert (after["version"], after["rows"]) == ("two", before["rows"] + 1)
    assert after["cached"] == before["cached"]
    assert stack.ssh("rollback").status == 0
    assert (answer(stack)["version"], answer(stack)["rows"]) == ("one", before["rows"] + 1)

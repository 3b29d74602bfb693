"""The same classic stack with a Spring Boot backend on a Docker host, with its own nginx in front: with the jar that
this machine has built and, for longer, with all of it built in the box.
"""

import json
from typing import Any, NamedTuple

import pytest

from devtools import classic, java
from devtools.lab import images
from devtools.lab.ground import Ground, Shop
from devtools.load import Load
from devtools.load.shapes import MAX_SECONDS
from tests.conftest import needs_lab

pytestmark = [pytest.mark.lab, pytest.mark.long]
FROM_SOURCE = "built in the box"


class Stack(NamedTuple):
    """The app, and its jar; without one, its image is built from its sources."""

    app: Shop
    jar: bytes

    def push(self, version: str) -> None:
        """Push that version, which must go live."""
        self.app.tree.commit(classic.files_with(self.jar, version) if self.jar else classic.files(version))
        pushed = self.app.push_building()
        assert pushed.ok, pushed.err

    def answer(self) -> dict[str, Any]:
        got = self.app.get("/api/", timeout=60)
        assert got.status == 200, got.body
        return dict(json.loads(got.body))


@pytest.fixture(
    scope="module", params=["a jar of the commit", pytest.param(FROM_SOURCE, marks=pytest.mark.long)]
)
def stack(ground: Ground, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Pushed once."""
    jar = b""
    if request.param == FROM_SOURCE:
        needs_lab(images.java_problem(), "python -m tools.lab java")
        ground.box.load(images.JAVA)
    else:
        needs_lab(images.jre_problem())
        if lacking := java.lacking():
            pytest.skip(lacking)
        jar = classic.jar(tmp_path_factory.mktemp("classic"))
        ground.box.load([images.JRE])
    made = Stack(ground.app("built" if jar else "classic", {"README.md": ""}), jar)
    made.push("one")
    return made


def test_its_own_nginx_serves_the_page_and_the_backend_the_api(stack: Stack) -> None:
    assert b"nginx" in stack.app.get("/").body
    first = stack.answer()
    assert (first["version"], first["rows"]) == ("one", 0)
    assert stack.answer()["visits"] == first["visits"] + 1
    assert stack.answer()["cached"] == first["cached"]


def test_no_request_fails_while_a_new_release_starts_and_a_rollback_and_rows_and_cache_stay(
    stack: Stack,
) -> None:
    before = stack.answer()
    stack.app.post("a note", path="/api/", timeout=60)
    with Load(
        f"http://{stack.app.domain}/api/", rate=30, seconds=MAX_SECONDS, at=stack.app.box.address
    ) as load:
        stack.push("two")
        after = stack.answer()
        assert stack.app.ssh("rollback").status == 0
    total = load.report.total
    print(f"{total.failed} of {total.sent} requests failed")
    assert (total.failed, total.sent > 0) == (0, True), load.report.table()
    assert (after["version"], after["rows"]) == ("two", before["rows"] + 1)
    assert after["cached"] == before["cached"]
    assert (stack.answer()["version"], stack.answer()["rows"]) == ("one", before["rows"] + 1)

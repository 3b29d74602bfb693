"""nginx, a Spring Boot backend, PostgreSQL and Redis, not written for pushrod, on the embedded engine."""

import json
import urllib.request
from typing import Any

import pytest

from devtools import classic, java
from devtools.apps import App, Machine
from devtools.load import Load
from devtools.load.shapes import MAX_SECONDS
from devtools.shop import LONGEST

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.skipif(bool(java.lacking()), reason=java.lacking()),
]


def answer(app: App) -> dict[str, Any]:
    got = app.get("/api/")
    assert got.status == 200, got.body
    return dict(json.loads(got.body), release=got.release)


def test_it_is_deployed_changed_under_load_and_rolled_back(machine: Machine) -> None:
    for name in ("UV_OFFLINE", "UV_CACHE_DIR"):
        machine.env.pop(name, None)
    app = machine.app("classic", classic.files(), push=False)
    pushed = app.tree.push(timeout=LONGEST)
    assert pushed.ok, pushed.err
    first = answer(app)
    assert (first["version"], first["rows"], first["release"]) == ("one", 0, 1)
    assert answer(app)["visits"] == first["visits"] + 1
    assert answer(app)["cached"] == first["cached"]
    note = urllib.request.Request(f"{app.url}/api/", b"a note", {"Content-Type": "text/plain"})
    with urllib.request.urlopen(note, timeout=30) as written:
        assert written.status == 201

    app.tree.commit(classic.files("two"))
    with Load(f"{app.url}/api/", rate=30, seconds=MAX_SECONDS) as load:
        pushed = app.tree.push(timeout=LONGEST)
        assert pushed.ok, pushed.err
        second = answer(app)
        assert (second["version"], second["rows"], second["release"]) == ("two", 1, 2)
        assert second["cached"] == first["cached"]
        app.must("rollback")
    total = load.report.total
    print(f"{total.failed} of {total.sent} requests failed")
    assert (total.failed, total.sent > 0) == (0, True), load.report.table()
    assert (answer(app)["version"], answer(app)["rows"]) == ("one", 1)

"""Clients of stores count against the app's limits, and do not pile up."""

import json
from pathlib import Path

import pytest

from pushrod.core.values import Service
from pushrod.stores import shells
from pushrod.stores.kinds import ContainerStore
from tests.unit.adapters.docker import recorded
from tests.unit.adapters.docker.recorded import SLICE, Calls, described

STORE = ContainerStore("shop", Service(name="db", role="store"), "shop-db", lambda _: "")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return recorded.install(tmp_path, monkeypatch)


def test_a_client_counts_against_the_apps_limits(engine: Calls) -> None:
    argv = shells.apart(STORE, "psql", ["--host=db"], {"PGPASSWORD": "secret"}, terminal=False).argv
    assert {f"--cgroup-parent={SLICE}", "--label=pushrod.client=shop", "--no-healthcheck"} < {*argv}
    assert argv.index(f"--cgroup-parent={SLICE}") < argv.index("sha256:1")
    assert not any("secret" in word for word in argv)


def test_of_too_many_clients_the_oldest_ends(engine: Calls, tmp_path: Path) -> None:
    """Calls that are cut off leave them behind if the image's program ignores the end of its input."""
    known = [described(f"client{n}", f"2026-11-22T14:00:0{n}Z") for n in range(9)]
    (tmp_path / "listed").write_text("\n".join(f"client{n}" for n in range(9)))
    (tmp_path / "known").write_text(json.dumps(known))
    shells.apart(STORE, "psql", [], {}, terminal=True)
    assert ["rm", "--force", "--volumes", "client0", "client1"] in engine()

"""Which exporters follow from what runs; their files and links. Docker and the servers are simulated, `tests/lab/`
has the real ones."""

import json
from pathlib import Path

import pytest

from pushrod.adapters import docker
from pushrod.core.errors import StoreError
from pushrod.engines.docker import exporters, names
from pushrod.engines.docker.stores import Stores
from pushrod.state.apps import App
from pushrod.stores.kinds import Figures, Server
from tests.unit.samples import make_live

NAME = "shop.postgres"


class Watched(Server):
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.passwords: list[str] = []
        self.refuses = False

    def watch(self, password: str) -> Figures:
        if self.refuses:
            raise StoreError("does not answer", where="container shop-postgres")
        self.passwords.append(password)
        return Figures(5432, "shop_monitor")

    def unwatch(self) -> None:
        self.passwords.append("")


class Host:
    """What Docker says of the app's PostgreSQL."""

    def __init__(self) -> None:
        self.server = Watched()
        self.started, self.address, self.state = "at 1", "10.213.1.2", "running"

    def inspect(self, asked: list[str]) -> list[docker.Container]:
        made = docker.Container(
            "shop-postgres",
            {docker.APP: "shop"},
            "image",
            self.state,
            started=self.started,
            networks={"shop": self.address},
        )
        return [made] if made.name in asked else []


@pytest.fixture
def host(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    (tmp_path / "wants").mkdir()
    monkeypatch.setattr(names, "UNITS", tmp_path / "wants")
    monkeypatch.setattr(docker, "inspect", host.inspect)
    monkeypatch.setattr(Stores, "servers", lambda _, stores: {s.name: host.server for s in stores})
    make_live(app, 1)
    return host


def follow(app: App, *, enabled: bool = True) -> list[str]:
    return exporters.follow(app.root, enabled=enabled)


def links() -> list[str]:
    return sorted(path.name for path in names.UNITS.iterdir())


def file(app: App, ending: str) -> str:
    path = app.root.path / "exporters" / f"{NAME}{ending}"
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text()


def test_a_store_that_runs_gets_an_exporter_with_a_password_of_its_own(app: App, host: Host) -> None:
    assert follow(app) == []
    assert links() == [f"pushrod-postgres-exporter@{NAME}.service"]
    link = names.UNITS / links()[0]
    assert str(link.readlink()) == "../pushrod-postgres-exporter@.service"
    (password,) = host.server.passwords
    assert len(password) == 48
    lines = dict(line.split("=", 1) for line in file(app, ".env").splitlines())
    assert lines["DATA_SOURCE_URI"] == "10.213.1.2:5432/postgres?sslmode=disable"
    assert lines["DATA_SOURCE_USER"] == "shop_monitor"
    assert lines["DATA_SOURCE_PASS"] == password
    (group,) = json.loads((app.root.path / "targets/stores/postgres.json").read_text())
    assert group["targets"] == [lines["LISTEN"]]
    assert group["labels"] == {
        "__metrics_path__": "/metrics",
        "instance": "shop/postgres",
        "app": "shop",
        "store": "postgres",
    }
    assert (app.root.path / "exporters").stat().st_mode & 0o777 == 0o700
    assert follow(app) == []
    assert host.server.passwords == [password]  # nothing to do, so nothing is asked


def test_a_store_that_was_started_again_gets_its_user_again_and_the_exporter_goes_on(
    app: App, host: Host
) -> None:
    follow(app)
    host.started = "at 2"
    follow(app)
    assert len(host.server.passwords) == 2
    assert len({*host.server.passwords}) == 1
    assert len(links()) == 1


def test_another_address_ends_the_exporter_and_starts_it_with_the_new_one(app: App, host: Host) -> None:
    follow(app)
    host.address, host.started = "10.213.1.9", "at 2"
    follow(app)
    assert links() == []
    assert "10.213.1.9:5432" in file(app, ".env")
    follow(app)
    assert len(links()) == 1


def test_a_store_that_does_not_answer_is_named_and_asked_again(app: App, host: Host) -> None:
    host.server.refuses = True
    (problem,) = follow(app)
    assert problem.startswith(f"{NAME}: ")
    assert links() == []
    host.server.refuses = False
    assert follow(app) == []
    assert len(links()) == 1


def test_a_store_that_ended_has_no_exporter_and_keeps_no_password(app: App, host: Host) -> None:
    follow(app)
    host.state = "exited"
    follow(app)
    assert links() == []
    assert {path.name for path in (app.root.path / "exporters").iterdir()} == {"known.json"}
    assert not (app.root.path / "targets/stores/postgres.json").exists()
    assert "" not in host.server.passwords


def test_turned_off_the_user_goes_too(app: App, host: Host) -> None:
    assert follow(app, enabled=False) == []
    assert not (app.root.path / "exporters").exists()
    follow(app)
    follow(app, enabled=False)
    assert (links(), host.server.passwords[-1]) == ([], "")
    assert not (app.root.path / "exporters").exists()


def test_redis_has_its_password_in_the_address() -> None:
    known = exporters.Known("redis", 9401, "secret", "at 1", "10.213.1.3")
    text = exporters._text_of(known, Figures(6379, "watcher"))
    assert text == "LISTEN=127.0.0.1:9401\nREDIS_ADDR=redis://watcher:secret@10.213.1.3:6379\n"

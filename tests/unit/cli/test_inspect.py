"""The display of requests that the edge has logged."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pushrod.cli import cli
from pushrod.state.apps import App
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets
from tests.unit.samples import release

LINE = {
    "time": "2026-11-25T10:00:00+00:00",
    "app": "shop",
    "release": 1,
    "request": "77c5f9f32c4d4c3bd9a8a3c1ce2a9ff7",
    "client": "203.0.113.9",
    "method": "GET",
    "path": "/products/1",
    "status": 200,
    "bytes": 5,
    "seconds": 0.0124,
    "upstream": "127.0.0.1:20001",
    "upstream_status": "200",
    "upstream_seconds": "0.012",
    "cache": "HIT",
}
UNREADABLE = {**LINE, "method": "", "path": "", "status": 400, "upstream": "", "cache": "", "seconds": 0}


@pytest.fixture
def log(app: App) -> Path:
    Releases(app).seal(release(1))
    path = app.root.edge / "logs" / "access.log"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(r, separators=(",", ":")) + "\n" for r in (LINE, UNREADABLE)))
    return path


def shown(app: App, *words: str) -> list[str]:
    done = CliRunner().invoke(cli, ["--root", str(app.root.path), "logs", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_request_is_shown_as_one_line(app: App, log: Path) -> None:
    assert shown(app, "--edge") == [
        "2026-11-25 10:00:00  200    0.012 s  GET     /products/1                       backend-1     hit     "
        "77c5f9f32c4d4c3bd9a8a3c1ce2a9ff7",
        "2026-11-25 10:00:00  400    0.000 s  -       -                                 edge          -       "
        "77c5f9f32c4d4c3bd9a8a3c1ce2a9ff7",
    ]


def test_json_output_has_the_logged_request_with_its_instance(app: App, log: Path) -> None:
    first, second = map(json.loads, shown(app, "--edge", "--json"))
    assert (first, second) == ({**LINE, "instance": "backend-1"}, {**UNREADABLE, "instance": ""})


def test_status_and_slow_imply_the_edge_log(app: App, log: Path) -> None:
    assert len(shown(app, "--status", "4xx")) == len(shown(app, "--slow", "12ms")) == 1


def test_a_secret_in_a_path_is_not_shown(app: App, log: Path) -> None:
    Secrets(app).store({"KEY": "swordfish"})
    log.write_text(json.dumps({**LINE, "path": "/reset/swordfish"}, separators=(",", ":")) + "\n")
    assert "/reset/***" in shown(app, "--edge")[0]
    assert json.loads(shown(app, "--edge", "--json")[0])["path"] == "/reset/***"

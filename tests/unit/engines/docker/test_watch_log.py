"""The log of what was done to an app's containers."""

import json
from pathlib import Path

import pytest

from pushrod.engines.docker import watch_log


def test_a_record_is_in_the_journal_and_in_the_log_of_the_app(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch_log.record(tmp_path, "web-1", "was not running", "started")
    watch_log.record(tmp_path, "web-2", "was unhealthy", "restarted")
    assert capsys.readouterr().out == "web-1 was not running: started\nweb-2 was unhealthy: restarted\n"
    lines = [json.loads(line) for line in (tmp_path / "watch.log").read_text().splitlines()]
    assert [(line["container"], line["why"], line["did"]) for line in lines] == [
        ("web-1", "was not running", "started"),
        ("web-2", "was unhealthy", "restarted"),
    ]


def test_a_destroyed_app_gets_no_directory_again(tmp_path: Path) -> None:
    watch_log.record(tmp_path / "gone", "web-1", "was not running", "started")
    assert not list(tmp_path.iterdir())

"""One-off programs of a release."""

import json
from pathlib import Path

import pytest

from pushrod.engines.docker import programs
from pushrod.engines.docker.programs import Programs
from pushrod.state.apps import App
from tests.unit import samples
from tests.unit.adapters.docker import recorded
from tests.unit.adapters.docker.recorded import described


def test_of_too_many_one_off_programs_the_oldest_ends(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal, Docker's client can be left while its container goes on; without a network, nothing else bounds
    their number."""
    engine = recorded.install(tmp_path, monkeypatch)
    monkeypatch.setattr(programs, "_MOST", 3)
    names = [f"run{n}" for n in range(4)]
    (tmp_path / "listed").write_text("\n".join(names))
    (tmp_path / "known").write_text(json.dumps([described(n, f"2026-11-22T14:00:0{n[-1]}Z") for n in names]))
    release = samples.release(7)
    service = release.service(release.entry)
    argv = Programs().run_program(app, release, service, ["true"], {}).argv
    listing, *_ = (call for call in engine() if call[0] == "ps")
    assert {f"label=pushrod.app={app.name}", "label=pushrod.release=7"} < {*listing}
    assert "label=com.docker.compose.oneoff=True" in listing
    assert ["rm", "--force", "--volumes", "run0", "run1"] in engine()
    assert argv[-2:] == (f"{service.name}.run", "true")

"""Programs of an app's image that run as root are bounded, and do not outlive the call."""

from pathlib import Path

import pytest

from pushrod.adapters import docker
from pushrod.adapters.docker import container
from pushrod.core.errors import HostError
from tests.unit.adapters.docker import recorded
from tests.unit.adapters.docker.recorded import SLICE, Calls


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    return recorded.install(tmp_path, monkeypatch)


def test_what_empties_volumes_is_bounded(engine: Calls) -> None:
    docker.empty_volumes("shop-db", ["/data"], "sha256:1")
    (run,) = [call for call in engine() if call[0] == "run"]
    assert {"--memory=128m", "--cpus=1", "--pids-limit=16", f"--cgroup-parent={SLICE}", "--cap-drop=ALL"} < {
        *run
    }
    assert run[-5:] == ["sha256:1", "/data", "-mindepth", "1", "-delete"]


@pytest.mark.slow
def test_what_empties_volumes_does_not_outlive_its_time(
    engine: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow").touch()
    monkeypatch.setattr(container, "_EMPTYING", 0.5)
    with pytest.raises(HostError, match="did not end within"):
        docker.empty_volumes("shop-db", ["/data"], "sha256:1")
    assert [call[:2] for call in engine()][-1] == ["rm", "--force"]

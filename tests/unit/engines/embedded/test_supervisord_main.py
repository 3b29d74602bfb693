"""The daemon is supervisord, with what lies beside its file in reach of supervisord's plugins."""

import subprocess
import sys
from pathlib import Path

import pytest

from pushrod.engines.embedded import supervisord_main


def run(directory: Path, factory: str) -> subprocess.CompletedProcess[str]:
    """Start it as far as its configuration, which names a plugin and then cannot be used."""
    copy = directory / "daemon.py"
    copy.write_text(Path(supervisord_main.__file__).read_text())
    conf = directory / "supervisord.conf"
    plugin = f"[rpcinterface:x]\nsupervisor.rpcinterface_factory={factory}\n"
    conf.write_text(f"[supervisord]\n{plugin}[program:x]\ncommand=true\npriority=high\n")
    command: list[str | Path] = [sys.executable, "-P", copy, "-n", "-c", conf]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.slow
def test_a_plugin_beside_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("install = None\n")
    assert "'high'" in run(tmp_path, "beside:install").stderr
    assert "nowhere:install cannot be resolved" in run(tmp_path, "nowhere:install").stderr

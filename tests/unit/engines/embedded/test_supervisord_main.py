"""supervisord, with the modules beside its own file available to plugins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushrod.engines.embedded import supervisord_main


def run(directory: Path, factory: str) -> subprocess.CompletedProcess[str]:
    """Start it with a configuration that names a plugin and is then invalid."""
    copy = directory / "daemon.py"
    copy.write_text(Path(supervisord_main.__file__).read_text())
    conf = directory / "supervisord.conf"
    plugin = f"[rpcinterface:x]\nsupervisor.rpcinterface_factory={factory}\n"
    door = f"[unix_http_server]\nfile={directory / 'run' / 'socket'}\n"
    conf.write_text(f"[supervisord]\n{door}{plugin}[program:x]\ncommand=true\npriority=high\n")
    command: list[str | Path] = [sys.executable, "-P", copy, "-n", "-c", conf]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.slow
def test_a_plugin_next_to_the_configuration_is_found(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("install = None\n")
    assert "'high'" in run(tmp_path, "beside:install").stderr
    assert "nowhere:install cannot be resolved" in run(tmp_path, "nowhere:install").stderr


def test_a_directory_that_another_account_could_have_taken_is_not_used(tmp_path: Path) -> None:
    """After a reboot the one in /tmp is gone, and its name is no secret."""
    place = tmp_path / "run"
    assert not supervisord_main.is_taken(place)
    place.mkdir(mode=0o710)
    assert not supervisord_main.is_taken(place)
    place.chmod(0o777)
    assert supervisord_main.is_taken(place)
    assert "belongs to another account" in run(tmp_path, "beside:install").stderr
    place.rename(tmp_path / "other")
    (tmp_path / "other").chmod(0o700)
    place.symlink_to("other")
    assert supervisord_main.is_taken(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away takes root")
def test_nor_is_one_that_belongs_to_another(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir(mode=0o700)
    os.chown(place, 54321, 54321)
    assert supervisord_main.is_taken(place)

"""host.json as the host's owner changes it."""

from pathlib import Path

import msgspec
import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import host_settings
from pushrod.state.apps import HostSettings, Root


def test_settings_are_replaced_with_their_mode(tmp_path: Path) -> None:
    root = Root(tmp_path)
    root.host_settings_path.write_text("{}")
    root.host_settings_path.chmod(0o640)
    changed = msgspec.structs.replace(host_settings.read(root), metrics=9180)
    host_settings.write(root, changed)
    assert host_settings.read(root) == changed != HostSettings()
    assert root.host_settings_path.stat().st_mode & 0o777 == 0o640


def test_other_machines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="not a host yet"):
        host_settings.read(Root(tmp_path))

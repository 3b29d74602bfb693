"""Which engine runs the apps of a root."""

import pytest

from pushrod.core.errors import StateError
from pushrod.engines import registry
from pushrod.state.apps import Root
from pushrod.system import files


def test_a_root_with_host_settings_uses_docker(root: Root) -> None:
    assert registry.of(root).traits.name == "embedded"
    files.write(root.host_settings_path, "{}")
    result = registry.of(root)
    assert (result.traits.name, result.root) == ("docker", root)
    assert registry.traits(root) == result.traits


def test_damaged_host_settings_are_an_error(root: Root) -> None:
    files.write(root.host_settings_path, "{")
    with pytest.raises(StateError, match="cannot be read"):
        registry.of(root)

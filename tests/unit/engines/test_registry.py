"""Which engine runs the apps of a root."""

import pytest

from pushrod.core.errors import StateError
from pushrod.engines import registry
from pushrod.state.apps import Root
from pushrod.system import files


def test_docker_runs_them_where_the_host_was_made_for_it(root: Root) -> None:
    assert registry.of(root).traits.name == "embedded"
    files.write(root.host_settings_path, "{}")
    found = registry.of(root)
    assert (found.traits.name, found.root) == ("docker", root)
    assert registry.traits(root) == found.traits


def test_a_host_whose_settings_are_damaged_is_never_taken_for_another(root: Root) -> None:
    files.write(root.host_settings_path, "{")
    with pytest.raises(StateError, match="cannot be read"):
        registry.of(root)

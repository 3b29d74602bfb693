"""Which engine runs the apps of a root."""

import pytest

from pushrod import host
from pushrod.apps import Root
from pushrod.engines import choice
from pushrod.errors import StateError


def test_docker_runs_them_where_the_host_was_made_for_it(root: Root) -> None:
    assert choice.of(root).name == "embedded"
    host.write(root.host_settings_path, "{}")
    found = choice.of(root)
    assert (found.name, found.root) == ("docker", root)


def test_a_host_whose_settings_are_damaged_is_never_taken_for_another(root: Root) -> None:
    host.write(root.host_settings_path, "{")
    with pytest.raises(StateError, match="cannot be read"):
        choice.of(root)

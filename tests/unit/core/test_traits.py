"""Each engine has its row."""

from typing import get_args

from pushrod.core.traits import BY_NAME
from pushrod.core.values import EngineName


def test_every_engine_has_its_traits() -> None:
    assert set(BY_NAME) == set(get_args(EngineName))
    assert all(traits.name == name for name, traits in BY_NAME.items())

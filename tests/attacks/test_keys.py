"""A key for one app is a key for one app."""

import pytest

from tests.attacks.town import Attacker, Town

pytestmark = pytest.mark.lab


def test_a_key_cannot_name_another_app(town: Town, attacker: Attacker) -> None:
    for argv in (
        ("status", "--app", "victim"),
        ("logs", "--app", "victim"),
        ("run", "--app", "victim", "true"),
    ):
        done = attacker.asks(*argv)
        assert done.status != 0, argv
        assert "this key is not for `victim`" in done.stderr

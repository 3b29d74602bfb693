"""A role is a list of verbs that the SSH gate allows too."""

import pytest

from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import gate
from pushrod.provisioning.kinds import Reach
from pushrod.web import roles
from pushrod.web.roles import ROLES, VERBS, Role


def test_every_verb_of_a_role_is_one_that_a_key_may_run() -> None:
    for role in ROLES:
        assert VERBS[role] <= set(gate.VERBS)
        assert not [v for v in VERBS[role] if gate.VERBS[v].all_apps]


def test_a_viewer_changes_nothing_and_each_role_has_what_the_one_below_has() -> None:
    assert all(gate.VERBS[v].read_only for v in VERBS["viewer"])
    assert VERBS["viewer"] < VERBS["deployer"] < VERBS["owner"]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("viewer", ["rollback"]),
        ("viewer", ["maintenance", "on"]),
        ("viewer", ["maintenance"]),
        ("deployer", ["secret", "set", "X"]),
        ("deployer", ["exec", "backend", "sh"]),
        ("owner", ["exec", "backend", "sh"]),
        ("owner", ["apps", "destroy", "shop"]),
        ("owner", ["host", "init"]),
        ("owner", ["web", "invite", "eve"]),
        ("owner", ["web", "call"]),
        ("owner", []),
        ("owner", ["--root", "/", "status"]),
        ("owner", ["audit"]),
    ],
)
def test_everything_else_is_refused(role: Role, words: list[str]) -> None:
    with pytest.raises(UnknownNameError):
        roles.check(role, words, Reach())


@pytest.mark.parametrize(
    ("role", "words", "verb"),
    [
        ("viewer", ["logs", "backend"], "logs"),
        ("deployer", ["maintenance", "on", "--app", "shop"], "maintenance on"),
        ("owner", ["secret", "set", "NAME", "-"], "secret set"),
    ],
)
def test_what_a_role_includes_is_named(role: Role, words: list[str], verb: str) -> None:
    assert roles.check(role, words, Reach(("shop",))) == verb

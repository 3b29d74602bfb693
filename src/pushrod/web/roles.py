"""What members of the page may do: a role is a list of verbs, each of which the SSH gate allows a key too. Pure."""

from typing import Literal

from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import gate
from pushrod.provisioning.kinds import Reach

Role = Literal["viewer", "deployer", "owner"]
ROLES: tuple[Role, ...] = ("viewer", "deployer", "owner")

_VIEWER = (
    *("apps list", "status", "releases", "logs", "plan"),
    *("db backups", "db wal", "cert list", "secret list"),
)
_DEPLOYER = (
    *("rollback", "restart", "scale", "maintenance on", "maintenance off"),
    *("db backup", "db verify"),
)
_OWNER = ("down", "secret set", "secret unset", "cert renew")

VERBS: dict[Role, frozenset[str]] = {
    "viewer": frozenset(_VIEWER),
    "deployer": frozenset((*_VIEWER, *_DEPLOYER)),
    "owner": frozenset((*_VIEWER, *_DEPLOYER, *_OWNER)),
}
"""The verbs of each role: an allow list, which `gate` judges once more."""


def may(role: Role, verb: str) -> bool:
    """Whether a role includes a verb."""
    return verb in VERBS[role]


def check(role: Role, words: list[str], reach: Reach) -> str:
    """The verb that the words begin with; UnknownNameError if the role, or a key, may not run it."""
    verb = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in gate.VERBS), "")
    gate.rule(verb, reach)
    if not may(role, verb):
        raise UnknownNameError(f"a {role} may not do that: `{verb}`", hint="ask an owner of the app")
    return verb

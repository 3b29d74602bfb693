"""Vaults that the host's owner has set for others."""

import pytest

from tests.attacks.town import MANIFEST, Attacker

pytestmark = pytest.mark.lab


def test_a_vault_of_others_needs_the_owners_word(attacker: Attacker) -> None:
    """The error does not say whether there is one of that name: nobody has looked."""
    result = attacker.refused(
        {"compose.yaml": MANIFEST.replace("keep: 3", "keep: 3, backups: {to: offsite}")}
    )
    assert (result.where, result.to_do) == (
        "x-pushrod.backups.to",
        "the host's owner can allow it: pushrod apps allow attacker vault:offsite",
    )
    planned = attacker.at_desk("plan", check=False)
    assert (planned.status, result.to_do in planned.stderr) == (3, True), planned

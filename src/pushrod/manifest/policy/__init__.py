"""Reduces a resolved compose document to what is allowed, within the host's limits. Pure.

`manifest.keys` has the treatment of each key, `rules` the rule for each value. Unknown keys, and values that need a
grant the host's owner has not given, are refused by name: a person who may push an app is not root on the host, so
anything that would make a container part of the host needs a grant (`grants.WORDS`). Values that can never work with
two releases running at once are refused without one.
"""

from pushrod.manifest.policy.amounts import EXPENDABLE, LOG_FILES, LOG_SIZE
from pushrod.manifest.policy.counts import paced_for, within
from pushrod.manifest.policy.reading import Permitted, Terms
from pushrod.manifest.policy.rules import RULES, apply, paced

__all__ = [
    "EXPENDABLE",
    "LOG_FILES",
    "LOG_SIZE",
    "RULES",
    "Permitted",
    "Terms",
    "apply",
    "paced",
    "paced_for",
    "within",
]

"""A resolved compose document becomes one that holds only what is allowed, within the host's limits. Pure.

`manifest.keys` says what becomes of each key, `rules` has the rule for each value. What nobody has classified, and
what needs a word that the host's owner has not given, is refused by name: whoever may push an app is not root on the
host, so whatever would make a container part of the host has a word that allows it (`grants.WORDS`); what can never
work beside other releases is refused without one.
"""

from pushrod.manifest.policy.amounts import EXPENDABLE, LOG_FILES, LOG_SIZE
from pushrod.manifest.policy.counts import within
from pushrod.manifest.policy.reading import Permitted, Terms
from pushrod.manifest.policy.rules import RULES, apply, paced

__all__ = ["EXPENDABLE", "LOG_FILES", "LOG_SIZE", "RULES", "Permitted", "Terms", "apply", "paced", "within"]

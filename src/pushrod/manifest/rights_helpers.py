"""Services that only hand a volume to an account (`busybox chown -R 1000 /data`). Where one account runs all programs
and owns all volumes, nothing is left for them to do. Pure.
"""

from collections.abc import Sequence

from pushrod.core.patterns import lazy
from pushrod.manifest import image_refs
from pushrod.manifest.drafts import Draft

_SHELLS = lazy(r"(?:/\S*/)?(?:ba|da|a)?sh\s+-[a-z]*c\s+")
_PART = lazy(r"\s*(?:(?:/\S*/)?(?:chown|chgrp|chmod)\s[^&;|<>`$()]*|echo\s[^&;|<>`$()]*|true|exit 0|)\s*")
_CHANGES = lazy(r"\bch(?:own|grp|mod)\s")


def split(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """The other services, and a note on these."""
    helpers = [d.name for d in drafts if _is_helper(d)]
    what = "not run: the account that runs all programs here owns their volumes"
    notes = [f"{', '.join(helpers)}: {what}"] if helpers else []
    return [d for d in drafts if d.name not in helpers], notes


def _is_helper(draft: Draft) -> bool:
    if draft.service.build is not None or draft.chosen or not image_refs.is_runtime(draft.reference):
        return False
    line = " ".join((*draft.service.entrypoint, *draft.service.command)).strip()
    script = _SHELLS.match(line)
    parts = (line[script.end() :] if script else line).replace("&&", ";").split(";")
    return bool(_CHANGES.search(line)) and all(_PART.fullmatch(part) for part in parts)

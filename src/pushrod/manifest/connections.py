"""Which services of a manifest reach which others, by their dependencies and their configuration. Pure."""

import re
from collections.abc import Collection, Iterable

from pushrod.manifest import aliases
from pushrod.manifest.drafts import Draft


def leads_to(draft: Draft, names: Collection[str]) -> bool:
    """Whether a service depends on one of `names`, or its configuration names one as a server."""
    return any(n in names for n in draft.needed) or names_server(draft, names)


def called(drafts: Iterable[Draft]) -> set[str]:
    """The names by which these services can be reached."""
    return {str(name) for d in drafts for name in (d.name, *aliases.own(d.key)) if name}


def names_server(draft: Draft, names: Collection[str]) -> bool:
    """Whether a service's configuration names one of `names` as a server."""
    service = draft.service
    words = [*service.command, *service.entrypoint, *(v for v in service.environment.values() if v)]
    links = (str(link.value).partition(":")[0] for link in draft.key.get("links").sequence())
    text = "\n".join([*words, *links])
    return any(
        re.search(rf"(?:^|[\s@,;='\"]|//){re.escape(n)}(?=$|[\s/:,;'\"])", text, re.MULTILINE) for n in names
    )


def are_peers(draft: Draft, others: Iterable[Draft]) -> bool:
    """Whether the services with its image are the members of one cluster: one names another."""
    members = [draft, *(d for d in others if d.service.image == draft.service.image)]
    apart = all(d.service.role != "entry" for d in members)
    return apart and any(names_server(d, called(o for o in members if o is not d)) for d in members)

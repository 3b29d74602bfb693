"""The entry: the service of a manifest that receives the app's HTTP traffic. Pure."""

from collections.abc import Mapping, Sequence, Set

from pushrod.core.errors import ManifestError
from pushrod.manifest import image_refs, likelihood
from pushrod.manifest.connections import called, leads_to
from pushrod.manifest.drafts import Draft, enumerated, same_image

_CHOOSE = "write `x-pushrod: {role: entry}` in the one that answers HTTP"
_PUBLISHED = "it alone publishes a port"
_LABELLED = "it alone has labels for a proxy"
_ASIDE = "the others have routes for their own paths"
_ONLY = "nothing else could be"
_SITES = frozenset(("web server", "fronted", "root", "labelled", "published"))
_EVIDENCE = {
    "web server": "it is a web server that publishes a port",
    "fronted": "a proxy stands in front of it",
    "root": "it has the route `/`",
    "labelled": _LABELLED,
    "published": _PUBLISHED,
    "health": "it has a path for its health",
    "exposed": "it alone exposes a port",
    "routes": "it alone has routes",
}

_HINTS = {  # if none of these is there
    "checked": "its health check fetches a page of its own",
    "bound": "its command names a port",
    "image": "its image exposes a port for its own command",
}


def choose(drafts: Sequence[Draft]) -> tuple[Draft, list[str], str]:
    """The entry, a note if it was chosen among several, and the reason.

    Raises ManifestError if there is none, or if two are equally likely.
    """
    candidates, why = _candidates(drafts)
    if len(candidates) == 1:
        because = f"{candidates[0].name} is the entry, because {why}"
        return candidates[0], [_changes(because)] if why == _ASIDE else [], because
    if any(d.chosen == "entry" for d in candidates) or why not in (
        _PUBLISHED,
        _LABELLED,
        _EVIDENCE["fronted"],
    ):
        return _one(candidates), [], ""
    awaited = {name for d in drafts if d not in candidates for name in d.needed}
    among = [_candidate(d, candidates) for d in candidates]
    name, why = likelihood.choose(among, awaited)
    entry = next((d for d in candidates if d.name == name), None) or _one(candidates)
    because = f"{entry.name} is the entry, because {why}"
    return entry, [_changes(because)], because


def _changes(because: str) -> str:
    return f"{because}; `x-pushrod: {{role: entry}}` in another service changes that"


def _candidate(draft: Draft, candidates: Sequence[Draft]) -> likelihood.Candidate:
    others = [d for d in candidates if d is not draft]
    needed = [d for d in others if d.name in draft.needed]
    helps = frozenset(d.name for d in needed if same_image(d.service, draft.service))
    uses = frozenset(d.name for d in needed) - helps
    before = frozenset(d.name for d in others if leads_to(draft, {d.name}))
    return likelihood.Candidate(draft.service, draft.image_name, draft.published, uses, helps, before)


def opened(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts to choose the entry from. If no service that is built here could be it, a pulled one with a volume
    and a published port is somebody else's application (WordPress, Gitea), not a store, unless another of these
    connects to it."""
    if any(d.chosen == "entry" or (_listens(d) and d.service.build is not None) for d in drafts):
        return list(drafts)
    apps = [d for d in drafts if _implied(d) and "published" in d.listening]
    apps = [
        d
        for d in apps
        if not any(leads_to(o, called([d])) for o in drafts if o is not d and (_listens(o) or o in apps))
    ]
    return [d.with_(role="worker", store=None) if d in apps else d for d in drafts]


def _implied(draft: Draft) -> bool:
    """Whether it counts as a store only because of its volume."""
    implied = draft.service.role == "store" and not draft.chosen
    return implied and not image_refs.is_store(draft.reference)


def _listens(draft: Draft) -> bool:
    """Whether it may be the site."""
    seems = draft.service.role == "worker" and bool(draft.listening) and draft.chosen != "worker"
    return (
        seems
        and not likelihood.is_tool(draft.service, draft.image_name)
        and not likelihood.speaks_otherwise(draft.service)
    )


def _candidates(drafts: Sequence[Draft]) -> tuple[list[Draft], str]:
    """The possible entries, and the reason. Each kind of evidence narrows down what the one before it left.

    In order: a web server that runs as its own service, services behind one that the edge replaces, a route `/`,
    labels for a proxy, a published port, a health path, an exposed port, other routes; without any of these, a health
    check that fetches a page of the service itself, a port in its command (either becomes its port), a port that its
    image exposes. A single stateless service needs no evidence.
    Raises ManifestError if nothing is known about any.
    """
    candidates = [d for d in drafts if d.service.role in ("worker", "entry")]
    named = [d for d in candidates if d.chosen == "entry"]
    if named:
        return named, "it says so"
    candidates = [d for d in candidates if d.chosen != "worker"]
    sites = [d for d in candidates if not likelihood.is_tool(d.service, d.image_name)]
    tools = 0 < len(sites) < len(candidates)
    http = [d for d in sites if not likelihood.speaks_otherwise(d.service)]
    because = likelihood.TOOLS if tools else likelihood.OTHERWISE if http and http != sites else _ONLY
    candidates = http or sites or candidates
    evidence = {d.name: _evidence(d, drafts) for d in candidates}
    aside = [d for d in candidates if _is_aside(d, candidates, evidence)]
    candidates = [d for d in candidates if d not in aside]
    why = because if len(candidates) == 1 and not aside else ""
    for kind, reason in _EVIDENCE.items():
        narrowed = [d for d in candidates if kind in evidence[d.name]]
        if narrowed and (len(narrowed) < len(candidates) or not why):
            alone = len(narrowed) == 1 and any(kind in evidence[d.name] for d in aside)
            candidates, why = narrowed, _ASIDE if alone else reason
    for kind, reason in _HINTS.items() if not why else ():
        narrowed = [d for d in candidates if kind in evidence[d.name]]
        if narrowed and not why:
            candidates, why = [d if d.service.port else d.with_(port=d.hinted) for d in narrowed], reason
    if not why and aside and len(candidates) == 1:
        why = _ASIDE
    if not why:
        stores = [d.name for d in drafts if d.service.role == "store" and "published" in d.listening]
        if stores and not candidates:
            what = (
                f"no entry: {enumerated(stores)}, which publishes a port, is a store, and the site is not one"
            )
            raise ManifestError(
                what, where="services", hint=f"add the service that answers HTTP, or {_CHOOSE}"
            )
        among = f" among {enumerated(d.name for d in candidates)}" if candidates else ""
        raise ManifestError(
            f"no entry: no service shows that it receives HTTP{among}",
            where="services",
            hint=f'publish its port (ports: ["8000:8000"]), or {_CHOOSE}',
        )
    return candidates, why


def _is_aside(draft: Draft, candidates: Sequence[Draft], evidence: Mapping[str, Set[str]]) -> bool:
    """Whether a service has routes for a part of the paths only, and another one shows as well as it does that it is
    the site. Such routes alone mean nothing: they may also be settings of the site's own paths."""
    mine = evidence[draft.name]
    if "routes" not in mine or "root" in mine or len(candidates) == 1:
        return False
    if likelihood.is_admins(draft.name):
        return True
    others = [
        d for d in candidates if not evidence[d.name] & {"routes", "root"} or "root" in evidence[d.name]
    ]
    others = [d for d in others if likelihood.is_plausible(_candidate(d, []))]
    for other in others:
        theirs = evidence[other.name]
        pulled = other.service.build is None and draft.service.build is not None
        if theirs and likelihood.is_front(other.service):
            return True
        if not pulled and (theirs & _SITES or ("exposed" in theirs and not mine & _SITES)):
            return True
    return False


def _evidence(draft: Draft, drafts: Sequence[Draft]) -> set[str]:
    """The evidence that a service answers HTTP."""
    kinds = {*draft.listening, draft.hint}
    if image_refs.is_web_server(draft.reference) and "published" in kinds:
        kinds.add("web server")
    if any(d.service.role == "edge" and draft.name in d.service.depends_on for d in drafts):
        kinds.add("fronted")
    return kinds


def _one(candidates: Sequence[Draft]) -> Draft:
    if len(candidates) == 1:
        return candidates[0]
    count = "two" if len(candidates) == 2 else str(len(candidates))
    raise ManifestError(
        f"{count} entries: {enumerated(d.name for d in candidates)}", where="services", hint=_CHOOSE
    )

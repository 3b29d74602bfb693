"""The role of each service of a manifest: store, edge, entry, worker, or a job that runs once. Pure."""

import graphlib
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.traits import BY_NAME
from pushrod.core.values import EngineName, Role, Service
from pushrod.manifest import image_refs, likelihood
from pushrod.manifest.document import Key
from pushrod.manifest.image_refs import Reference
from pushrod.stores import registry

_SERVERS = frozenset((
    "docker-entrypoint.sh", "mariadbd", "mongod", "mysqld", "postgres", "redis-server", "valkey-server",
))  # fmt: skip
_CHOOSE = "write `x-pushrod: {role: entry}` in the one that answers HTTP"


class Draft(NamedTuple):
    """A service while the manifest is read: its values, its place in the file, and what its role is derived from.

    `chosen` is `x-pushrod.role`. `reference` is the image it runs or, if it is built, its base image. `listening`
    is the evidence that it answers HTTP: `published`, `exposed`, `health`, `routes`, `labelled` for a proxy.
    `published` is the published port's number on the host (0: none, or any). `awaits` names the services that must
    have ended before this one starts. `shares` means that it writes data shared by all releases.
    """

    service: Service
    key: Key
    chosen: str
    reference: Reference
    listening: frozenset[str]
    published: int
    holds_data: bool
    awaits: tuple[str, ...]
    shares: bool = False

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def with_(self, **changes: object) -> "Draft":
        """A copy of this draft with fields of its service changed."""
        return self._replace(service=msgspec.structs.replace(self.service, **changes))


def derive(drafts: Sequence[Draft], engine: EngineName) -> tuple[list[Draft], list[str], str]:
    """Every draft with its role, notes on these, and which service is the entry and why. On the embedded engine
    jobs are folded into the service they are for; on Docker they stay, each after those it waits for.

    Raises ManifestError if there is no entry or more than one, a store the engine cannot run, or a job without a
    place.
    """
    return _on_docker(drafts) if BY_NAME[engine].containers else _embedded(drafts)


def _embedded(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str], str]:
    drafts, tools = _without_tools(drafts)
    drafts = _behind([_placed(d, "embedded") for d in drafts])
    staying, jobs = _split_jobs(drafts)
    entry, notes, because = _site(staying)
    folded, folding = _fold(_with_entry(staying, entry), jobs)
    return folded, [*notes, *tools, *folding], because


def _without_tools(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """The drafts without operators' tools from pulled images, which the embedded engine cannot run; and a note on
    them."""

    def is_tool(draft: Draft) -> bool:
        if draft.chosen or draft.service.build is not None or image_refs.is_store(draft.reference):
            return False
        plain = not (draft.service.command or draft.service.entrypoint)
        return likelihood.is_tools(draft.reference.name) or (plain and likelihood.is_tool(draft.service, ""))

    tools = [d.name for d in drafts if is_tool(d)]
    others = [d for d in drafts if d.name not in tools]
    if not tools or all(image_refs.is_store(d.reference) for d in others):
        return list(drafts), []
    what = "not run: an administration tool in an image, which the embedded engine cannot pull"
    return others, [f"{', '.join(tools)}: {what}"]


def _on_docker(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str], str]:
    awaited = {name for d in drafts for name in d.awaits}
    drafts = [
        d.with_(role="job", replicas=0) if d.name in awaited and not d.chosen else _placed(d, "docker")
        for d in drafts
    ]
    drafts = _behind(drafts)
    entry, notes, because = _site(_opened(drafts))
    drafts = [d.with_(role="worker", store=None) if _is_part_of(entry, d) else d for d in drafts]
    return _in_order(_with_entry(drafts, entry)), notes, because


def _is_part_of(entry: Draft, draft: Draft) -> bool:
    """Whether a seeming store is a part of the entry's application, which others made: both have the same image."""
    implied = draft.service.role == "store" and not draft.chosen and not image_refs.is_store(draft.reference)
    return implied and draft.service.build is None and draft.service.image == entry.service.image


def _behind(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts without dependencies on services that the edge replaces or that are not run."""
    run = {d.name for d in drafts if d.service.role != "edge"}
    return _without(drafts, {name for d in drafts for name in d.service.depends_on} - run)


def _with_entry(drafts: Sequence[Draft], entry: Draft) -> list[Draft]:
    if not entry.service.replicas:
        entry.key.get("deploy").get("replicas").wrong("at least one replica of the entry")
    return [d.with_(role="entry") if d.name == entry.name else d for d in drafts]


def _placed(draft: Draft, engine: EngineName) -> Draft:
    """The draft with its role, except the entry's, which is decided later."""
    role: Role = "worker"
    if draft.chosen == "edge":
        role = "edge"
    elif draft.chosen == "store" or (not draft.chosen and _is_store(draft, engine)):
        role = "store"
    elif not draft.chosen and image_refs.is_web_server(draft.reference) and not BY_NAME[engine].containers:
        role = "edge"
    if role != "store":
        return draft.with_(role=role)
    kind = registry.by_image(draft.reference.name)
    if not BY_NAME[engine].containers and (kind is None or not kind.embeddable):
        image = draft.service.image or draft.reference.path or "what it builds"
        runs = _and(next(iter(k.images.values())) for k in registry.KINDS if k.embeddable)
        raise ManifestError(
            f"{draft.name} is a store ({image}) that needs the Docker engine: the embedded engine runs {runs}",
            where=draft.key.path,
            hint="deploy this app to a host with Docker, or run that store elsewhere and set its address with "
            "`pushrod secret set`; if it keeps no data, write `x-pushrod: {role: worker}`",
        )
    return draft.with_(role=role, store=kind.name if kind else None)


def _is_store(draft: Draft, engine: EngineName) -> bool:
    pulled, containers = draft.service.build is None, BY_NAME[engine].containers
    runtime = containers and image_refs.is_runtime(draft.reference) and bool(_argv(draft))
    other = runtime or image_refs.is_web_server(draft.reference)
    if containers and not draft.holds_data and _is_client(draft):
        return False
    return image_refs.is_store(draft.reference) or (pulled and draft.holds_data and not other)


def _argv(draft: Draft) -> tuple[str, ...]:
    return (*draft.service.entrypoint, *draft.service.command)


def _is_client(draft: Draft) -> bool:
    """Whether it runs a client from the store's own image, and ends. `restart: "no"` alone is Compose's default."""
    words = re.sub(r"^(?:\S*/)?(?:ba)?sh\s+-c\s+(?:exec\s+)?", "", " ".join(_argv(draft)).strip()).split()
    client = bool(words) and not words[0].startswith("-") and words[0].rpartition("/")[2] not in _SERVERS
    return client and draft.key.get("restart").text() == "no"


# ---- the entry ------------------------------------------------------------------------------------------------


def _site(drafts: Sequence[Draft]) -> tuple[Draft, list[str], str]:
    """The entry, a note if it was chosen among several, and the reason.

    Raises ManifestError if there is none, or if two are equally likely.
    """
    candidates, why = _candidates(drafts)
    if len(candidates) == 1:
        return candidates[0], [], f"{candidates[0].name} is the entry, because {why}"
    if any(d.chosen == "entry" for d in candidates) or why not in (_PUBLISHED, _LABELLED):
        return _one(candidates), [], ""
    awaited = [name for d in drafts for name in (*d.service.depends_on, *d.awaits)]
    among = [likelihood.Candidate(d.service, _image(d), d.published) for d in candidates]
    name, why = likelihood.choose(among, awaited)
    entry = next((d for d in candidates if d.name == name), None) or _one(candidates)
    because = f"{entry.name} is the entry, because {why}"
    return entry, [f"{because}; `x-pushrod: {{role: entry}}` in another service changes that"], because


def _image(draft: Draft) -> str:
    """The last component of the image's name; empty if the service is built."""
    return "" if draft.service.build else draft.reference.name


def _opened(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts to choose the entry from. If no service that is built here could be it, a pulled one with a volume
    and a published port is somebody else's application (WordPress, Gitea), not a store, unless another of these
    connects to it."""
    if any(d.chosen == "entry" or (_listens(d) and d.service.build is not None) for d in drafts):
        return list(drafts)
    apps = [d for d in drafts if _implied(d) and "published" in d.listening]
    apps = [
        d
        for d in apps
        if not any(leads_to(o, {d.name}) for o in drafts if o is not d and (_listens(o) or o in apps))
    ]
    return [d.with_(role="worker", store=None) if d in apps else d for d in drafts]


def _implied(draft: Draft) -> bool:
    """Whether it counts as a store only because of its volume."""
    implied = draft.service.role == "store" and not draft.chosen
    return implied and not image_refs.is_store(draft.reference)


def _listens(draft: Draft) -> bool:
    """Whether it may be the site."""
    seems = draft.service.role == "worker" and bool(draft.listening) and draft.chosen != "worker"
    return seems and not likelihood.is_tool(draft.service, _image(draft)) and not _speaks_otherwise(draft)


def _speaks_otherwise(draft: Draft) -> bool:
    return likelihood.is_other(draft.service.port)


def leads_to(draft: Draft, names: Collection[str]) -> bool:
    """Whether a service depends on one of `names`, or its configuration names one as a server."""
    service = draft.service
    if any(name in names for name in (*service.depends_on, *draft.awaits)):
        return True
    words = [*service.command, *service.entrypoint, *(v for v in service.environment.values() if v)]
    links = (str(link.value).partition(":")[0] for link in draft.key.get("links").sequence())
    text = "\n".join([*words, *links])
    return any(
        re.search(rf"(?:^|[\s@,;='\"]|//){re.escape(n)}(?=$|[\s/:,;'\"])", text, re.MULTILINE) for n in names
    )


_PUBLISHED = "it alone publishes a port"
_LABELLED = "it alone has labels for a proxy"
_EVIDENCE = {
    "web server": "it is a web server that publishes a port",
    "fronted": "a proxy stands in front of it",
    "routes": "it has routes",
    "labelled": _LABELLED,
    "published": _PUBLISHED,
    "health": "it has a path for its health",
    "exposed": "it alone exposes a port",
}


def _candidates(drafts: Sequence[Draft]) -> tuple[list[Draft], str]:
    """The possible entries, and the reason. Each kind of evidence narrows down what the one before it left.

    In order: a web server that runs as its own service, services behind one that the edge replaces, routes, labels
    for a proxy, a published port, a health path, an exposed port; a single stateless service needs no evidence.
    Raises ManifestError if nothing is known about any.
    """
    candidates = [d for d in drafts if d.service.role in ("worker", "entry")]
    named = [d for d in candidates if d.chosen == "entry"]
    if named:
        return named, "it says so"
    candidates = [d for d in candidates if d.chosen != "worker"]
    sites = [d for d in candidates if not likelihood.is_tool(d.service, _image(d))]
    sites = [d for d in sites if not _speaks_otherwise(d)] or sites
    candidates = sites or candidates
    why = "nothing else could be" if len(candidates) == 1 else ""
    evidence = {d.name: _evidence(d, drafts) for d in candidates}
    for kind, reason in _EVIDENCE.items():
        narrowed = [d for d in candidates if kind in evidence[d.name]]
        if narrowed and (len(narrowed) < len(candidates) or not why):
            candidates, why = narrowed, reason
    if not why:
        among = f" among {_and(d.name for d in candidates)}" if candidates else ""
        raise ManifestError(
            f"no entry: no service shows that it receives HTTP{among}",
            where="services",
            hint=f'publish its port (ports: ["8000:8000"]), or {_CHOOSE}',
        )
    return candidates, why


def _evidence(draft: Draft, drafts: Sequence[Draft]) -> set[str]:
    """The evidence that a service answers HTTP."""
    kinds = set(draft.listening)
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
        f"{count} entries: {_and(d.name for d in candidates)}", where="services", hint=_CHOOSE
    )


# ---- jobs: services whose end another one waits for
# ---------------------------------------------------------------


def _split_jobs(drafts: Sequence[Draft]) -> tuple[list[Draft], list[Draft]]:
    awaited = {name for d in drafts for name in d.awaits}
    jobs = [d for d in drafts if d.name in awaited and d.service.role == "worker" and not d.chosen]
    return [d for d in drafts if d not in jobs], jobs


def _fold(drafts: list[Draft], jobs: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Turn each job into the release command of the service it is for, which runs once, before any new instance."""
    notes = []
    for job in jobs:
        argv = (*job.service.entrypoint, *job.service.command)
        waiting = [d for d in drafts if job.name in d.awaits]
        same = [d for d in waiting if _same_image(d.service, job.service) and not d.service.release]
        same.sort(key=lambda d: d.service.role != "entry")
        if not same or not argv:
            raise ManifestError(
                f"{job.name} must end before other services start; the embedded engine runs only services that stay "
                "up, and one release command per service",
                where=job.key.path,
                hint="put its command under `x-pushrod: {release: ...}` in the service it prepares for, and give "
                "the job a profile so that only plain Compose runs it",
            )
        owner = same[0].name
        drafts = [d.with_(release=argv) if d.name == owner else d for d in drafts]
        notes.append(f"{job.name}: runs once per release, as the release command of {owner}")
    return _without(drafts, {j.name for j in jobs}), notes


def _without(drafts: Sequence[Draft], gone: Collection[str]) -> list[Draft]:
    """The drafts without dependencies on `gone`, services that have ended by then."""
    kept = (tuple(n for n in d.service.depends_on if n not in gone) for d in drafts)
    return [d.with_(depends_on=names) for d, names in zip(drafts, kept, strict=True)]


def _in_order(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts with each job after the jobs it waits for, directly or through another service."""
    before = {d.name: (*d.service.depends_on, *d.awaits) for d in drafts}
    try:
        order = [*graphlib.TopologicalSorter(before).static_order()]
    except graphlib.CycleError as error:
        raise ManifestError(
            f"{_and(dict.fromkeys(error.args[1]))} wait for each other",
            where="services",
            hint="see `depends_on`",
        ) from None
    jobs = sorted((d for d in drafts if d.service.role == "job"), key=lambda d: order.index(d.name))
    rest = iter(jobs)
    return _without([next(rest) if d.service.role == "job" else d for d in drafts], {j.name for j in jobs})


def _same_image(one: Service, other: Service) -> bool:
    if one.build and other.build:
        return msgspec.structs.replace(one.build, of="") == msgspec.structs.replace(other.build, of="")
    return one.build == other.build and one.image == other.image


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

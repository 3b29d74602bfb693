"""Which part each service of a manifest plays: store, edge, entry, worker, or a job that runs once. Pure."""

import graphlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from pushrod.errors import ManifestError
from pushrod.manifest import likelihood, references
from pushrod.manifest.document import Key
from pushrod.manifest.references import Reference
from pushrod.values import EngineName, Role, Service

_CHOOSE = "write `x-pushrod: {role: entry}` in the one that answers HTTP"


class Draft(NamedTuple):
    """A service while the manifest is read: its values, where they stand, and what its role is derived from.

    `chosen` is `x-pushrod.role`. `reference` is the image it runs, for a built one the image it begins from.
    `listening` says how it shows that it answers HTTP: `published`, `exposed`, `health`, `routes`; `published` is
    that port's number on the host (0: none, or any). `awaits` names the services that must have ended before this
    one starts.
    """

    service: Service
    key: Key
    chosen: str
    reference: Reference
    listening: frozenset[str]
    published: int
    holds_data: bool
    awaits: tuple[str, ...]

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def with_(self, **changes: object) -> "Draft":
        """This draft with fields of its service changed."""
        return self._replace(service=msgspec.structs.replace(self.service, **changes))


def derive(drafts: Sequence[Draft], engine: EngineName) -> tuple[list[Draft], list[str]]:
    """Every draft with its role, and notes about that. On the embedded engine jobs are folded into the service they
    are for; on Docker they stay, each after those it waits for.

    Raises ManifestError: no entry, more than one, a store that the engine cannot run, a job with no place.
    """
    if engine == "docker":
        return _on_docker(drafts)
    drafts = _behind([_placed(d, engine) for d in drafts])
    staying, jobs = _split_jobs(drafts)
    found, said = _site(staying)
    folded, notes = _fold(_with_entry(staying, found), jobs)
    return folded, said + notes


def _on_docker(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    awaited = {name for d in drafts for name in d.awaits}
    drafts = [
        d.with_(role="job", replicas=0) if d.name in awaited and not d.chosen else _placed(d, "docker")
        for d in drafts
    ]
    drafts = _behind(drafts)
    found, notes = _site(_opened(drafts))
    return _in_order(_with_entry(drafts, found)), notes


def _behind(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts, none of which depends on a service whose place the edge takes."""
    return _without(drafts, {d.name for d in drafts if d.service.role == "edge"})


def _with_entry(drafts: Sequence[Draft], found: Draft) -> list[Draft]:
    if not found.service.replicas:
        found.key.get("deploy").get("replicas").wrong("at least one replica of the entry")
    return [d.with_(role="entry") if d.name == found.name else d for d in drafts]


def _placed(draft: Draft, engine: EngineName) -> Draft:
    """The draft with its role, all but the entry's."""
    role: Role = "worker"
    if draft.chosen == "edge":
        role = "edge"
    elif draft.chosen == "store" or (not draft.chosen and _is_store(draft, engine)):
        role = "store"
    elif not draft.chosen and references.is_web_server(draft.reference) and engine == "embedded":
        role = "edge"
    if role != "store":
        return draft.with_(role=role)
    kind = references.store_kind(draft.reference)
    if kind is None and engine == "embedded":
        image = draft.service.image or draft.reference.path or "what it builds"
        raise ManifestError(
            f"{draft.name} is a store ({image}) that needs the Docker engine: the embedded engine runs PostgreSQL "
            "and Redis",
            where=draft.key.path,
            hint="deploy this app to a host with Docker, or run that store elsewhere and give its address with "
            "`pushrod secret set`; if it keeps no data, write `x-pushrod: {role: worker}`",
        )
    return draft.with_(role=role, store=kind)


def _is_store(draft: Draft, engine: EngineName) -> bool:
    pulled = draft.service.build is None
    web = references.is_web_server(draft.reference)
    if engine == "docker" and draft.key.get("restart").text() == "no" and not draft.holds_data:
        return False  # a client of a store, from the store's own image, that is to end
    return references.is_store(draft.reference) or (pulled and draft.holds_data and not web)


# ---- the entry ------------------------------------------------------------------------------------------------


def _site(drafts: Sequence[Draft]) -> tuple[Draft, list[str]]:
    """The entry, with a choice where several services publish a port: plain Compose runs such a file as well.

    Raises ManifestError for none, and where two are equally likely.
    """
    candidates = _candidates(drafts)
    if len(candidates) == 1 or any(d.chosen == "entry" or "published" not in d.listening for d in candidates):
        return _one(candidates), []
    awaited = [name for d in drafts for name in (*d.service.depends_on, *d.awaits)]
    among = [likelihood.Candidate(d.service, _image(d), d.published) for d in candidates]
    name, why = likelihood.choose(among, awaited)
    found = next((d for d in candidates if d.name == name), None) or _one(candidates)
    other = "`x-pushrod: {role: entry}` in another service changes that"
    return found, [f"{found.name} is the entry, because {why}; {other}"]


def _image(draft: Draft) -> str:
    """The last part of the name of the image that a service runs as it was pulled."""
    return "" if draft.service.build else draft.reference.name


def _opened(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts as candidates. Where no other service could be the entry, one that is pulled, has a volume and
    publishes a port is an app that somebody else made (WordPress, Gitea), not a store."""
    if any(d.chosen == "entry" or (d.listening and d.service.role == "worker") for d in drafts):
        return list(drafts)

    def is_app(draft: Draft) -> bool:
        implied = draft.service.role == "store" and not draft.chosen
        return implied and not references.is_store(draft.reference) and "published" in draft.listening

    return [d.with_(role="worker", store=None) if is_app(d) else d for d in drafts]


def _candidates(drafts: Sequence[Draft]) -> list[Draft]:
    """Who may be the entry. Each kind of evidence narrows what the one before it left.

    A web server that runs as a service of its own comes first, then what stands behind one that the edge
    replaces, a published port, a health path, an exposed port; the only stateless service needs no evidence.
    Raises ManifestError where nothing is known of any.
    """
    candidates = [d for d in drafts if d.service.role in ("worker", "entry")]
    named = [d for d in candidates if d.chosen == "entry"]
    if named:
        return named
    candidates = [d for d in candidates if d.chosen != "worker"]
    sites = [d for d in candidates if not likelihood.is_tool(d.service, _image(d))]
    sites = [d for d in sites if not likelihood.speaks_otherwise(d.service)] or sites
    candidates = sites or candidates
    known = len(candidates) == 1
    evidence = {d.name: _evidence(d, drafts) for d in candidates}
    for kind in ("web server", "fronted", "routes", "published", "health", "exposed"):
        narrowed = [d for d in candidates if kind in evidence[d.name]]
        candidates, known = (narrowed, True) if narrowed else (candidates, known)
    if not known:
        among = f" among {_and(d.name for d in candidates)}" if candidates else ""
        raise ManifestError(
            f"no entry: nothing says which service receives HTTP{among}",
            where="services",
            hint=f'publish its port (ports: ["8000:8000"]), or {_CHOOSE}',
        )
    return candidates


def _evidence(draft: Draft, drafts: Sequence[Draft]) -> set[str]:
    """What says that a service answers HTTP."""
    found = set(draft.listening)
    if references.is_web_server(draft.reference) and "published" in found:
        found.add("web server")
    if any(d.service.role == "edge" and draft.name in d.service.depends_on for d in drafts):
        found.add("fronted")
    return found


def _one(candidates: Sequence[Draft]) -> Draft:
    if len(candidates) == 1:
        return candidates[0]
    count = "two" if len(candidates) == 2 else str(len(candidates))
    raise ManifestError(
        f"{count} entries: {_and(d.name for d in candidates)}", where="services", hint=_CHOOSE
    )


# ---- jobs: services that another one waits for to end -------------------------------------------------------------


def _split_jobs(drafts: Sequence[Draft]) -> tuple[list[Draft], list[Draft]]:
    awaited = {name for d in drafts for name in d.awaits}
    jobs = [d for d in drafts if d.name in awaited and d.service.role == "worker" and not d.chosen]
    return [d for d in drafts if d not in jobs], jobs


def _fold(drafts: list[Draft], jobs: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Each job becomes the release command of the service it is for: run once, before any new instance."""
    notes = []
    for job in jobs:
        argv = (*job.service.entrypoint, *job.service.command)
        waiting = [d for d in drafts if job.name in d.awaits]
        same = [d for d in waiting if _same_image(d.service, job.service) and not d.service.release]
        same.sort(key=lambda d: d.service.role != "entry")
        if not same or not argv:
            raise ManifestError(
                f"{job.name} has to end before other services start; pushrod runs what stays up, and one release "
                "command for a service",
                where=job.key.path,
                hint="put its command under `x-pushrod: {release: ...}` in the service it prepares for, and give "
                "the job a profile so that only plain Compose runs it",
            )
        owner = same[0].name
        drafts = [d.with_(release=argv) if d.name == owner else d for d in drafts]
        notes.append(f"{job.name}: runs once for each release, as the release command of {owner}")
    return _without(drafts, {j.name for j in jobs}), notes


def _without(drafts: Sequence[Draft], gone: Collection[str]) -> list[Draft]:
    """The drafts, none of which depends on what has ended by then."""
    kept = (tuple(n for n in d.service.depends_on if n not in gone) for d in drafts)
    return [d.with_(depends_on=names) for d, names in zip(drafts, kept, strict=True)]


def _in_order(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts with each job after the jobs that it waits for, itself or through another service."""
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

"""The role of each service of a manifest: store, edge, entry, worker, or a job that runs once. Pure."""

import re
from collections.abc import Sequence

from pushrod.core.errors import ManifestError
from pushrod.core.traits import BY_NAME, DOCKER, EMBEDDED, EngineTraits
from pushrod.core.values import EngineName, Role
from pushrod.manifest import entry, image_refs, jobs, likelihood, named_volumes, rights_helpers
from pushrod.manifest.connections import called, leads_to
from pushrod.manifest.drafts import Draft, enumerated
from pushrod.stores import registry

_SERVERS = frozenset(
    ("docker-entrypoint.sh", "mongod", *(name for kind in registry.KINDS for name in kind.servers))
)


def derive(drafts: Sequence[Draft], engine: EngineName) -> tuple[list[Draft], list[str], str]:
    """Every draft with its role, notes on these, and which service is the entry and why. On the embedded engine
    jobs are folded into the service they are for; on Docker they stay, each after those it waits for.

    Raises ManifestError if there is no entry or more than one, a store the engine cannot run, or a job without a
    place.
    """
    return _on_docker(_sharing(drafts)) if BY_NAME[engine].containers else _embedded(drafts)


def _embedded(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str], str]:
    drafts, tools = _without_tools(drafts)
    drafts, helpers = rights_helpers.split(drafts)
    drafts = _behind([_placed(d, EMBEDDED) for d in drafts])
    staying, ending = jobs.split(drafts)
    site, notes, because = entry.choose(staying)
    folded, folding = jobs.fold(_with_entry(staying, site), ending)
    return folded, [*notes, *tools, *helpers, *folding], because


def _without_tools(drafts: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """The drafts without operators' tools from images that are pulled, or from which they are built: the embedded
    engine cannot run these. Also returns a note on them."""

    def is_tool(draft: Draft) -> bool:
        if draft.chosen or image_refs.is_store(draft.reference):
            return False
        if draft.service.build is not None:
            return likelihood.is_tools(draft.image_name)
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
        d.with_(role="job", replicas=0) if d.name in awaited and not d.chosen else _placed(d, DOCKER)
        for d in drafts
    ]
    drafts = _behind(drafts)
    site, notes, because = entry.choose(entry.opened(drafts))
    drafts = [d.with_(role="worker", store=None) if _is_part_of(site, d) else d for d in drafts]
    return jobs.in_order(_with_entry(drafts, site)), notes, because


def _is_part_of(site: Draft, draft: Draft) -> bool:
    """Whether a seeming store is a part of the entry's application, which others made: both have the same image."""
    implied = draft.service.role == "store" and not draft.chosen and not image_refs.is_store(draft.reference)
    return implied and draft.service.build is None and draft.service.image == site.service.image


def _behind(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts without dependencies on services that the edge replaces or that are not run."""
    run = {d.name for d in drafts if d.service.role != "edge"}
    return jobs.without(drafts, {name for d in drafts for name in d.service.depends_on} - run)


def _with_entry(drafts: Sequence[Draft], site: Draft) -> list[Draft]:
    if not site.service.replicas:
        site.key.get("deploy").get("replicas").wrong("at least one replica of the entry")
    return [d.with_(role="entry", port=site.service.port) if d.name == site.name else d for d in drafts]


def _placed(draft: Draft, engine: EngineTraits) -> Draft:
    """The draft with its role, except the entry's, which is decided later."""
    role: Role = "worker"
    if draft.chosen == "edge":
        role = "edge"
    elif draft.chosen == "store" or (not draft.chosen and _is_store(draft, containers=engine.containers)):
        role = "store"
    elif not draft.chosen and image_refs.is_web_server(draft.reference) and not engine.containers:
        role = "edge"
    if role != "store":
        return draft.with_(role=role)
    kind = registry.by_image(draft.reference.name)
    if not engine.containers and (kind is None or not kind.embeddable):
        image = draft.service.image or draft.reference.path or "what it builds"
        if draft.service.build is None and kind is None and not image_refs.is_store(draft.reference):
            what = f"{draft.name} runs the image {image}, which the embedded engine cannot pull"
            hint = "deploy this app to a host with Docker, or leave the service out"
            raise ManifestError(what, where=draft.key.path, hint=hint)
        runs = enumerated(next(iter(k.images.values())) for k in registry.KINDS if k.embeddable)
        raise ManifestError(
            f"{draft.name} is a store ({image}) that needs the Docker engine: the embedded engine runs {runs}",
            where=draft.key.path,
            hint="deploy this app to a host with Docker, or run that store elsewhere and set its address with "
            "`pushrod secret set`; if it keeps no data, write `x-pushrod: {role: worker}`",
        )
    return draft.with_(role=role, store=kind.name if kind else None)


def _is_store(draft: Draft, *, containers: bool) -> bool:
    pulled = draft.service.build is None
    runtime = image_refs.is_runtime(draft.reference) and bool(_argv(draft))
    other = runtime or image_refs.is_web_server(draft.reference)
    if containers and not draft.holds_data and _is_client(draft):
        return False
    return image_refs.is_store(draft.reference) or (
        pulled and draft.holds_data and not (draft.borrows or other)
    )


def _argv(draft: Draft) -> tuple[str, ...]:
    return (*draft.service.entrypoint, *draft.service.command)


def _is_client(draft: Draft) -> bool:
    """Whether it runs a client from the store's own image, and ends. `restart: "no"` alone is Compose's default."""
    words = re.sub(r"^(?:\S*/)?(?:ba)?sh\s+-c\s+(?:exec\s+)?", "", " ".join(_argv(draft)).strip()).split()
    client = bool(words) and not words[0].startswith("-") and words[0].rpartition("/")[2] not in _SERVERS
    return client and draft.key.get("restart").text() == "no"


def _sharing(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts, of which only those hold data that have a volume of their own to write to.

    A volume that a part of the app writes to as well (uploads, caches) holds that app's data, whoever mounts it; a
    program that prepares or copies a volume is not such a part. A part of an application that has its data in a known
    store (an image of the same publisher as another's) holds only files beside them.
    """
    known = called(d for d in drafts if image_refs.is_store(d.reference))

    def is_part(draft: Draft) -> bool:
        store, server = image_refs.is_store(draft.reference), image_refs.is_web_server(draft.reference)
        runs = image_refs.is_runtime(draft.reference) and draft.service.build is None
        ends = any(draft.name in d.awaits for d in drafts)
        return not (store or server or runs or ends or draft.chosen == "store")

    def owns(draft: Draft) -> bool:
        mine = named_volumes.of(draft.key, written=True)
        shared = {
            v for d in drafts if d is not draft and is_part(d) for v in named_volumes.of(d.key, written=True)
        }
        unnamed = named_volumes.has_others(draft.key)
        beside = leads_to(draft, known) and any(
            d.service.build is None and image_refs.share_publisher(draft.reference, d.reference)
            for d in drafts
            if d is not draft and is_part(d)
        )
        return draft.holds_data and not beside and (unnamed or not mine <= shared)

    pulled = [d for d in drafts if d.service.build is None and not image_refs.is_store(d.reference)]
    return [d._replace(borrows=d.holds_data and not owns(d)) if d in pulled else d for d in drafts]

"""Jobs: services whose end another one waits for. Pure."""

import graphlib
from collections.abc import Collection, Sequence

from pushrod.core.errors import ManifestError
from pushrod.manifest.drafts import Draft, enumerated, same_image


def split(drafts: Sequence[Draft]) -> tuple[list[Draft], list[Draft]]:
    """The services that stay up, and the jobs among them."""
    awaited = {name for d in drafts for name in d.awaits}
    jobs = [d for d in drafts if d.name in awaited and d.service.role == "worker" and not d.chosen]
    return [d for d in drafts if d not in jobs], jobs


def fold(drafts: list[Draft], jobs: Sequence[Draft]) -> tuple[list[Draft], list[str]]:
    """Turn each job into the release command of the service it is for, which runs once, before any new instance.

    Also returns notes. Raises ManifestError if a job cannot become one.
    """
    notes = []
    for job in jobs:
        argv = (*job.service.entrypoint, *job.service.command)
        waiting = [d for d in drafts if job.name in d.awaits]
        same = [d for d in waiting if same_image(d.service, job.service) and not d.service.release]
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
    return without(drafts, {j.name for j in jobs}), notes


def without(drafts: Sequence[Draft], gone: Collection[str]) -> list[Draft]:
    """The drafts without dependencies on `gone`, services that have ended by then."""
    kept = (tuple(n for n in d.service.depends_on if n not in gone) for d in drafts)
    return [d.with_(depends_on=names) for d, names in zip(drafts, kept, strict=True)]


def in_order(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts with each job after the jobs it waits for, directly or through another service. Raises ManifestError
    if services wait for each other.
    """
    before = {d.name: d.needed for d in drafts}
    try:
        order = [*graphlib.TopologicalSorter(before).static_order()]
    except graphlib.CycleError as error:
        raise ManifestError(
            f"{enumerated(dict.fromkeys(error.args[1]))} wait for each other",
            where="services",
            hint="see `depends_on`",
        ) from None
    jobs = sorted((d for d in drafts if d.service.role == "job"), key=lambda d: order.index(d.name))
    rest = iter(jobs)
    return without([next(rest) if d.service.role == "job" else d for d in drafts], {j.name for j in jobs})

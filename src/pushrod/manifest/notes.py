"""Notes on what a manifest asks for and the engine does differently. Pure.

Only differences that can change an app's behaviour get a note; `restart`, `networks`, `container_name`, `logging`
and the like have no effect that could be missed.
"""

import posixpath
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from pushrod.core.values import Service, Volume
from pushrod.manifest import connections, image_refs, likelihood, mounts, named_volumes, omissions
from pushrod.manifest.document import Key
from pushrod.manifest.drafts import Draft
from pushrod.stores import registry

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"  # what the engine's images run
_IN_TURN = "`deploy: {update_config: {order: stop-first}}`"
_NOT_COPIED = (
    "backups do not contain the files that it keeps in volumes and in directories that Git does not track"
)


def embedded(
    drafts: Sequence[Draft], versions: Mapping[str, str], tracked: Callable[[str], bool]
) -> list[str]:
    """The notes on a manifest. `versions` are the engine's own for each kind of store (`PostgreSQL 18.6`); `tracked`
    tells whether the commit contains a path.
    """
    stateless = [d for d in drafts if d.service.role in ("entry", "worker")]
    stores = [d for d in drafts if d.service.role == "store"]
    notes = [*_edge([d for d in drafts if d.service.role == "edge" and d.chosen != "edge"])]
    notes += [*_closed_ports(stateless), *_further_ports(stateless)]
    notes += [note for d in stores for note in _store(d, versions)]
    notes += _python(stateless)
    notes += _note(_NOT_COPIED, stateless, lambda d: _keeps_files(d, tracked))
    notes += [note for d in stateless for note in _unused(d, tracked)]
    return notes


def embedded_volumes(volumes: Key, drafts: Sequence[Draft], app: str) -> list[str]:
    """The notes on volumes of services that run, if they are elsewhere or of another kind."""
    running = [d for d in drafts if d.service.role != "edge"]
    used = {name for draft in running for name in named_volumes.of(draft.key)}
    return [*omissions.of_volumes(volumes, used, app)]


def embedded_domains(domains: Sequence[str]) -> list[str]:
    """The note if the manifest gives the app names."""
    return ["`x-pushrod.domains` are served on a Docker host only"] if domains else []


def embedded_backups(backups: Key) -> list[str]:
    """The note if the manifest schedules backups."""
    note = (
        "`x-pushrod.backups`: no timer makes them here; run `pushrod db backup --all` every hour, from cron"
    )
    return [note] if backups.given and backups.get("every").value != "never" else []


def embedded_tls(tls: Key) -> list[str]:
    """The note if the manifest asks for a certificate that only a Docker host can get."""
    note = "`x-pushrod.tls.source: acme` works on a Docker host only; `local` creates a certificate here"
    return [note] if tls.get("source").value == "acme" else []


def docker(drafts: Sequence[Draft], tracked: Callable[[str], bool]) -> list[str]:
    """The notes on a manifest for a Docker host: what differs there from `docker compose up`. `tracked` is as for
    `embedded`.
    """
    stateless = [d for d in drafts if d.service.role in ("entry", "worker", "job")]
    stores = [d for d in drafts if d.service.role == "store"]
    known = connections.called(d for d in stores if not d.service.keeps)
    notes = [*_closed_ports(stateless), *_further_ports(stateless)]
    notes += _note("published ports of stores stay closed", stores, _publishes)
    notes += _note(
        "stays as it is from push to push, as with Compose; data outside a volume is lost when its own "
        "definition changes: give it a volume, or `x-pushrod: {role: worker}` if it keeps no data",
        stores,
        lambda d: d.service.keeps,
    )
    notes += _note(
        "is replaced with each release, and what it wrote outside a volume with it, which Compose would keep: if it "
        "keeps data, give it a volume",
        stateless,
        lambda d: _forgets(d, known),
    )
    notes += [note for d in stateless for note in _anonymous_volumes(d)]
    notes += _note(
        "`container_name` and `hostname` are only names by which other services reach it: two releases run at once",
        stateless,
        lambda d: bool(d.key.get("container_name").value or d.key.get("hostname").value),
    )
    notes += _note(
        "its networks are not created: all services of a release share one, and reach the stores on another",
        drafts,
        lambda d: bool({*d.key.get("networks").names()} - {"default"}),
    )
    shared = [d for d in stateless if d.shares and _is_open_twice(d)]
    open_twice = (
        f"which the old and the new release briefly use at the same time; if only one may: {_IN_TURN}"
    )
    notes += _note(f"has a volume, {open_twice}", shared, lambda d: d.holds_data)
    directory = "writes to a directory that Git does not track"
    notes += _note(f"{directory}, {open_twice}", shared, lambda d: not d.holds_data)
    theirs = {name for d in stores for name in named_volumes.of(d.key)}
    theirs.add("")  # volumes without a name have their own note
    notes += _note(_NOT_COPIED, stateless, lambda d: _keeps_files(d, tracked, theirs))
    notes += _note(
        "stops before its new instances start, because of `order: stop-first`; it does not answer meanwhile",
        stateless,
        lambda d: d.service.stop_first,
    )
    notes += _note(
        "its `post_start` and `pre_stop` are not run: it is a job",
        stateless,
        lambda d: d.service.role == "job" and bool(d.service.post_start or d.service.pre_stop),
    )
    notes += [note for d in stateless for note in _too_early(d, drafts)]
    remarks = {d.name: registry.of(d.service.store).remark(d.service) for d in stores}
    for remark in dict.fromkeys(filter(None, remarks.values())):
        notes += _note(remark, [d for d in stores if remarks[d.name] == remark], lambda _: True)
    return notes


def _is_open_twice(draft: Draft) -> bool:
    """Whether instances of two releases run at once; a web server does not count, because it only reads."""
    stops = draft.service.role == "job" or draft.service.stop_first
    return not stops and not image_refs.is_web_server(draft.reference)


def _keeps_files(draft: Draft, tracked: Callable[[str], bool], theirs: Collection[str] = ()) -> bool:
    """Whether a service keeps files in volumes, other than `theirs` of stores, or in directories that are not in the
    commit. A web server only reads them.
    """
    if draft.service.role == "job" or image_refs.is_web_server(draft.reference):
        return False

    def keeps(mount: Key) -> bool:
        return (
            named_volumes.is_kept(mount, tracked)
            and named_volumes.may_hold_data(mount.get("target").text() or "/")
            and mount.get("source").text() not in theirs
        )

    return any(map(keeps, draft.key.get("volumes").sequence()))


def _forgets(draft: Draft, stores: Collection[str]) -> bool:
    """Whether a program may keep data that is lost with its container: a pulled one without a volume, even if its
    database is elsewhere, because many keep files, keys or extensions beside it; of those built here a database.
    """
    service, name = draft.service, draft.reference.name
    named = bool(named_volumes.of(draft.key, written=True))
    has_place = draft.shares or (named and not draft.borrows) or bool(named_volumes.anonymous(draft.key))
    if service.role not in ("entry", "worker") or draft.chosen or has_place:
        return False
    if service.build:  # a database that is built here
        built = service.role == "worker" and likelihood.is_stores(service.name)
        return built and not connections.leads_to(draft, stores)
    runs = bool(service.command or service.entrypoint)
    ends = (runs and draft.key.get("restart").text() == "no") or service.replicas != 1
    plain = service.read_only or image_refs.is_web_server(draft.reference) or likelihood.is_stateless(name)
    if ends or plain or (runs and image_refs.is_runtime(draft.reference)):
        return False
    return likelihood.keeps_own(name) or not likelihood.is_tool(service, name)


def _anonymous_volumes(draft: Draft) -> Iterable[str]:
    """The note on anonymous volumes of an instance."""
    paths = named_volumes.anonymous(draft.key)
    if paths and draft.service.role in ("entry", "worker"):
        what = f"its anonymous {'volumes' if paths[1:] else 'volume'}"
        yield kept_volumes(draft.service, what, paths, built=False)


def kept_volumes(service: Service, what: str, paths: Sequence[str], *, built: bool) -> str:
    """The note on volumes of a service that outlive its instances, if its image is `built` already, or pulled."""
    them = "them" if paths[1:] else "it"
    condition = "" if built or service.build is None else ", if its image has no files there"
    note = f"{service.name}: keeps {what} ({', '.join(paths)}) from release to release, as with Compose{condition}; "
    note += f"backups do not contain {them}"
    if service.stop_first:
        return note
    return f"{note}; the old and the new release briefly use {them} at the same time; if only one may: {_IN_TURN}"


def _publishes(draft: Draft) -> bool:
    return bool(draft.key.get("ports").sequence())


def _further_ports(drafts: Sequence[Draft]) -> Iterable[str]:
    for draft in drafts:
        ports = len(draft.key.get("ports").sequence())
        if draft.service.role != "entry" or not ports:
            continue
        if "published" not in draft.listening:
            yield f"{draft.name}: its published UDP ports stay closed; the edge receives only HTTP"
        elif ports > 1:
            yield f"{draft.name}: of its published ports only {draft.service.port} is reachable, through the edge"


def _too_early(draft: Draft, drafts: Sequence[Draft]) -> Iterable[str]:
    """Notes on jobs that run too early: a job runs after the stores and before the instances, so it cannot wait for
    an instance, and no store can wait for it."""
    if draft.service.role != "job":
        return
    running = {d.name for d in drafts if d.service.role in ("entry", "worker")}
    for name in draft.service.depends_on:
        if name in running:
            yield f"{draft.name}: runs before the new {name}, which it depends on"
    for store in drafts:
        if store.service.role == "store" and draft.name in store.awaits:
            yield f"{store.name}: starts before {draft.name}, which it waits for: stores come first"


def _edge(drafts: Sequence[Draft]) -> Iterable[str]:
    return _note(
        "pushrod's edge (nginx) replaces it; of its configuration only files and paths of services are used on the "
        "embedded engine",
        drafts,
        lambda _: True,
    )


def _closed_ports(drafts: Sequence[Draft]) -> Iterable[str]:
    return _note(
        "its published port stays closed; only the entry is reachable, through the edge",
        drafts,
        lambda d: d.service.role in ("worker", "job") and _publishes(d),
    )


def _store(draft: Draft, versions: Mapping[str, str]) -> Iterable[str]:
    kind, image = registry.of(draft.service.store), draft.reference.name
    runs, asked = versions.get(kind.name, ""), image_refs.version(draft.reference)
    product = kind.images.get(image, kind.title)
    if runs and asked and asked[:1] != _major(runs):
        name = runs if " " in runs else f"{kind.title} {runs}"
        yield f"{draft.name}: the manifest names {product} {asked[0]}; the embedded engine runs {name}"
    if image in kind.extensions:
        yield f"{draft.name}: the embedded engine's {kind.title} has no {kind.extensions[image]}"
    keys = ("build", "command", "entrypoint", "configs", "secrets")
    unused = [word for word in keys if draft.key.get(word).value]
    unused += [name for name in draft.service.environment if name.endswith("_FILE")]
    scripts = draft.service.volumes if kind.first_scripts else ()
    binds = sum(_is_bind(v.value) for v in draft.key.get("volumes").sequence()) - len(scripts)
    if scripts:
        names = ", ".join(v.source for v in scripts)
        yield f"{draft.name}: its SQL files ({names}) run once, in an empty database, as the app's migrating role"
    if unused or binds:
        what = ", ".join([f"`{word}`" for word in unused] + ["its mounted files"] * bool(binds))
        yield f"{draft.name}: {what} not used: the embedded engine configures its stores itself"


def _major(version: str) -> tuple[int, ...]:
    """The major version in `18.6` or `PostgreSQL 18.6`."""
    digits = version.split()[-1].partition(".")[0]
    return (int(digits),) if digits.isdigit() else ()


def _is_bind(volume: object) -> bool:
    if isinstance(volume, dict):
        return volume.get("type") == "bind"
    return str(volume).startswith((".", "/", "~"))


def _python(drafts: Sequence[Draft]) -> Iterable[str]:
    def other(draft: Draft) -> bool:
        named = image_refs.version(draft.reference)
        mine = tuple(int(part) for part in _PYTHON.split("."))
        return draft.reference.name == "python" and len(named) > 1 and named[:2] != mine

    return _note(
        f"its Dockerfile names another Python version; the embedded engine runs it on {_PYTHON}",
        drafts,
        other,
    )


def _unused(draft: Draft, tracked: Callable[[str], bool]) -> Iterable[str]:
    code = _code(draft.service, tracked)
    words = omissions.of_service(draft.key, java=draft.service.java, starts_in=code.target if code else "")
    if words:
        yield f"{draft.name}: {', '.join(f'`{w}`' for w in words)} not applied on the embedded engine"


def _code(service: Service, tracked: Callable[[str], bool]) -> Volume | None:
    """The mount of the directory in which a service's programs start, as far as the manifest shows it."""

    def holds(path: str) -> bool:
        return not path.startswith(("/", "~")) and not posixpath.splitext(path)[1] and tracked(path)

    if service.build is None:
        return mounts.code(service, holds)
    context = posixpath.normpath(service.build.context)
    return next((v for v in service.volumes if v.bind and v.source == context), None)


def _note(what: str, drafts: Sequence[Draft], holds: Callable[[Draft], bool]) -> Iterable[str]:
    """One note for all services to which it applies."""
    names = [d.name for d in drafts if holds(d)]
    if names:
        yield f"{', '.join(names)}: {what}"

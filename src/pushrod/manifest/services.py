"""Turns a resolved compose document into the values of its services. Pure: reads no files."""

import contextlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Build, EngineName, Hook, Manifest, Routing, Service
from pushrod.manifest import (
    discovery,
    domains,
    healthcheck,
    image_refs,
    kept,
    likelihood,
    notes,
    roles,
    routing,
    schedule,
    tls,
)
from pushrod.manifest.discovery import Target
from pushrod.manifest.document import Key, scalar
from pushrod.manifest.roles import Draft

KEEP = 5  # releases kept on the host unless the manifest says otherwise
MOST_KEPT = 100
MOST_REPLICAS = 100  # of a service, as for `pushrod scale`
MOST_INSTANCES = 200  # of all services together: each has an address, and a container or a process
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_GRACE = 10.0  # seconds; Compose's default for stop_grace_period
_TLS = (443, 8443)  # container ports that by convention speak TLS; the edge speaks plain HTTP


class Port(NamedTuple):
    """A published port: the container's, and the host's (0: any)."""

    target: int
    published: int


def read(
    document: object,
    *,
    engine: EngineName = "embedded",
    bases: Mapping[str, str] | None = None,
    store_versions: Mapping[str, str] | None = None,
    tracked: Callable[[str], bool] = lambda _: True,
    projects: Sequence[str] = (),
) -> Manifest:
    """The manifest that a resolved compose document describes, for an engine.

    `bases` maps each built service to its base image (`adapters.compose.bases`), which distinguishes a web server
    that is built from an app. `store_versions` are the engine's versions by kind of store; another major
    version in the manifest gets a note. `tracked` tells whether the commit contains a path; a path it does not
    contain is data of the app. `projects` are the names Compose may give the project. Raises ManifestError with the
    path of the invalid key.
    """
    top = Key("", document)
    own = top.get("x-pushrod")
    own.only("backups", "domains", "keep", "nginx", "redirects", "tls", "trusted_proxies")
    keep = own.get("keep").whole(KEEP, least=1, most=MOST_KEPT)
    names = domains.read(own.get("domains"))
    redirected = domains.redirects(own.get("redirects"), names)
    asked_as = domains.one(names)
    names = (*names, *redirected)
    services = top.get("services").mapping()
    if not services:
        raise ManifestError(
            "no services",
            where="services",
            hint="list what should run under `services:`; those with `profiles` run if `pushrod secret set "
            "COMPOSE_PROFILES` names one of these",
        )
    builders, targets = _builders(services, projects), discovery.targets(services)
    drafts = [
        _draft(
            name, key, (builder := builders.get(name, name)), services[builder], bases or {}, engine, asked_as
        )
        for name, key in services.items()
    ]
    drafts = [_with_target(d, targets[d.name], tracked) if d.name in targets else d for d in drafts]
    drafts, remarks, because = roles.derive(drafts, engine)
    if BY_NAME[engine].containers:
        staying = kept.kept(drafts, next(d.name for d in drafts if d.service.role == "entry"))
        drafts = [d.with_(role="store", keeps=True) if d.name in staying else d for d in drafts]
    if not any(discovery.is_proxy(d.key) and d.service.role != "edge" for d in drafts):
        remarks = [*remarks, *_unused_labels(drafts, targets, names)]
    routed = routing.read({name: key.get("x-pushrod") for name, key in services.items()}, own)
    _check_routed(routed, drafts, services)
    if not BY_NAME[engine].containers:
        remarks = [*remarks, *notes.embedded(drafts, store_versions or {}), *notes.embedded_domains(names)]
        remarks += [*notes.embedded_backups(own.get("backups")), *notes.embedded_tls(own.get("tls"))]
    else:
        remarks = [*remarks, *notes.docker(drafts)]
    return Manifest(
        services=tuple(d.service for d in drafts),
        notes=tuple(remarks),
        because=because,
        keep=keep,
        domains=names,
        ours=any("x-pushrod" in key.mapping() for key in (top, *services.values())),
        tls=tls.read(own.get("tls"), names, engine),
        routing=msgspec.structs.replace(routed, redirects=redirected),
        snippets=routing.snippets(own),
        backups=schedule.read(own.get("backups"), [d.service for d in drafts]),
    )


def _with_target(draft: Draft, target: Target, tracked: Callable[[str], bool]) -> Draft:
    """The draft with what its proxy labels say, and whether two releases share data that it writes."""
    shared = any(_is_shared(v, tracked) for v in draft.key.get("volumes").sequence())
    draft = draft._replace(shares=shared)
    if not target.reached:
        return draft
    draft = draft._replace(listening=draft.listening | {"labelled"})
    return draft.with_(port=target.port) if target.port else draft


def _unused_labels(
    drafts: Sequence[Draft], targets: Mapping[str, Target], names: Sequence[str]
) -> Iterator[str]:
    """Notes on labels for a proxy that does not run. Raises ManifestError if they restrict access, which would be
    open without the proxy."""
    for draft in drafts:
        target = targets.get(draft.name, Target())
        if not target.reached or draft.service.role not in ("entry", "worker"):
            continue
        if target.guard and not draft.key.get("x-pushrod").get("routes").given:
            raise ManifestError(
                f"a proxy would restrict access to {draft.name} (`{target.guard}`); the edge would not",
                where=f"{draft.key.path}.labels",
                hint="restrict it at the edge: `x-pushrod: {routes: {/: {auth: {basic: SECRET}}}}`, or `allow`",
            )
        if draft.service.role == "worker" and not draft.key.get("x-pushrod").get("routes").given:
            yield (
                f"{draft.name}: a proxy would lead requests to it by its labels; here only a route does: "
                f"`x-pushrod: {{routes: {{{target.path or '/PATH'}: {{}}}}}}`"
            )
        missing = [name for name in target.names if name not in names and not name.endswith(".localhost")]
        if missing and draft.service.role == "entry":
            words = ", ".join(missing)
            yield (
                f"{draft.name}: its labels for a proxy name {words}; the edge answers there with "
                f"`x-pushrod: {{domains: [{words}]}}` at the top of the file"
            )


def _check_routed(routed: Routing, drafts: Sequence[Draft], services: Mapping[str, Key]) -> None:
    """Raise ManifestError if a route leads to a service without instances."""
    running = {d.name for d in drafts if d.service.role in ("entry", "worker") and d.service.replicas}
    for name in routed.services:
        if name not in running:
            raise ManifestError(
                f"requests cannot go to {name}, because it has no instances",
                where=services[name].path,
                hint="a route needs a service with instances: no store, no job, no zero replicas",
            )


def _builders(services: Mapping[str, Key], projects: Sequence[str]) -> dict[str, str]:
    """Maps each service that runs an image built by another, referenced by that image's name, to its builder.

    As in `docker compose up --build`: one image, built once. Compose names an image without `image` after its project
    and service, joined by `-`, before version 2 by `_`.
    """
    built: dict[str, str] = {}
    for name, key in services.items():
        own = key.get("image").text()
        unnamed = (f"{project}{sign}{name}" for project in projects for sign in "-_")
        for image in (own,) if own else unnamed:
            if key.get("build").given:
                with contextlib.suppress(ValueError):
                    built.setdefault(image_refs.normal(image), name)
    builders = {}
    for name, key in services.items():
        if built and not key.get("build").given and key.get("image").text():
            with contextlib.suppress(ValueError, KeyError):
                builders[name] = built[image_refs.normal(key.get("image").text())]
    return builders


def _draft(
    name: str,
    key: Key,
    builder: str,
    building: Key,
    bases: Mapping[str, str],
    engine: EngineName,
    asked_as: str,
) -> Draft:
    """One service with everything its role is derived from; `builder` is the service that builds its image.

    `asked_as` is the app's own name for health checks, empty if it has none.
    """
    if not _NAME.fullmatch(name):
        key.wrong("a service name of letters, digits, `-`, `_` and `.`, at most 63")
    own = key.get("x-pushrod")
    own.only("health", "read_only", "release", "role", "routes", "sticky")
    image, build = key.get("image").text(), _build(building.get("build"), "" if builder == name else builder)
    base = bases.get(builder, "")
    if not image and build is None:
        key.wrong("a service with `image` or `build`")
    if build is None:
        image_refs.check(image, key.get("image").path)
    reference = image_refs.parse(base if build else image)
    ports = list(_published(key.get("ports")))
    port, exposed = _main(ports), _exposed(key.get("expose"))
    published = port.target
    replaced = not BY_NAME[engine].containers and image_refs.is_store(reference)
    health, checked = healthcheck.read(
        Key(key.path, None) if replaced else key.get("healthcheck"),
        own.get("health"),
        probe=not BY_NAME[engine].containers,
        name=asked_as,
    )
    listening = {
        "published": published,
        "exposed": exposed,
        "health": own.get("health").given and health.path,
        "routes": own.get("routes").given,
    }
    depends_on = key.get("depends_on")
    service = Service(
        name=name,
        role="worker",
        image=image,
        build=build,
        command=key.get("command").words(),
        entrypoint=key.get("entrypoint").words(),
        environment=_environment(key.get("environment")),
        port=published or exposed or checked,
        replicas=_replicas(key),
        stop_grace=key.get("stop_grace_period").seconds(_GRACE),
        depends_on=depends_on.names(),
        health=health,
        release=_release(own.get("release")),
        memory=_memory(key),
        read_only=own.get("read_only").yes() or key.get("read_only").yes(),
        java=image_refs.is_java(reference),
        stop_first=_stops_first(key.get("deploy").get("update_config").get("order")),
        post_start=_hooks(key.get("post_start")),
        pre_stop=_hooks(key.get("pre_stop")),
    )
    return Draft(
        service=service,
        key=key,
        chosen=own.get("role").choice("edge", "entry", "worker", "store"),
        reference=reference,
        listening=frozenset(evidence for evidence, holds in listening.items() if holds),
        published=port.published,
        holds_data=any(_is_volume(volume) for volume in key.get("volumes").sequence()),
        awaits=_awaited(depends_on),
    )


def _build(key: Key, of: str) -> Build | None:
    """Where an image is built from. The context must be in the commit: other paths differ on the host."""
    if not key.given:
        return None
    if isinstance(key.value, str):
        return Build(context=_inside(key), of=of)
    if key.get("dockerfile_inline").given:
        key.get("dockerfile_inline").wrong("a separate Dockerfile (`dockerfile: Dockerfile`)")
    context, dockerfile = _inside(key.get("context")), key.get("dockerfile").text() or Build().dockerfile
    if _leaves(posixpath.join(context, dockerfile)):
        key.get("dockerfile").wrong("a file inside the repository")
    return Build(
        context=context,
        dockerfile=dockerfile,
        target=key.get("target").text(),
        arguments=_environment(key.get("args")),
        of=of,
    )


def _inside(key: Key) -> str:
    if _leaves(key.text()) or "://" in key.text():
        key.wrong("a directory inside the repository")
    return posixpath.normpath(key.text() or ".")


def _leaves(path: str) -> bool:
    """Whether a path is outside the repository."""
    path = posixpath.normpath(path or ".")
    return path.startswith(("/", "../")) or path == ".." or "\0" in path


def _hooks(key: Key) -> tuple[Hook, ...]:
    return tuple(
        Hook(
            command=item.get("command").words() or item.get("command").wrong("a command"),
            user=item.get("user").text(),
            working_dir=item.get("working_dir").text(),
            privileged=item.get("privileged").yes(),
            environment=_environment(item.get("environment")),
        )
        for item in key.sequence()
    )


def _environment(key: Key) -> dict[str, str | None]:
    if isinstance(key.value, list):
        pairs = (item.text().partition("=") for item in key.sequence())
        return {name: value if equals else None for name, equals, value in pairs}
    return {
        name: None if not item.given else scalar(item.value) if isinstance(item.value, bool) else item.text()
        for name, item in key.mapping().items()
    }


def _published(ports: Key) -> Iterator[Port]:
    """The published TCP ports, in the file's order."""
    for port in ports.sequence():
        outside = 0
        if isinstance(port.value, dict):
            protocol, number = port.get("protocol").text(), port.get("target").whole(0)
            first = (
                port.get("published").text().partition("-")[0]
            )  # in a range, `8000-8010`, the host chooses
            outside = int(first) if re.fullmatch(r"[0-9]{1,5}", first) else 0
        else:
            number, protocol = _port(port)
        if number and protocol in ("", "tcp"):
            yield Port(number, outside)


def _main(ports: list[Port]) -> Port:
    """The port most likely to speak HTTP, by its number on the host; ports for TLS or other protocols come last."""
    return min(
        ports,
        key=lambda p: (
            likelihood.is_other(p.target),
            p.target in _TLS,
            likelihood.rank(p.published),
            likelihood.is_beside(p.target),
        ),
        default=Port(0, 0),
    )


def _exposed(expose: Key) -> int:
    """The first exposed TCP port; 0 if there is none."""
    ports = (_port(key) for key in expose.sequence())
    return next((number for number, protocol in ports if number and protocol in ("", "tcp")), 0)


def _port(key: Key) -> tuple[int, str]:
    """Container port and protocol of Compose's short form (`8000`, `80:8000/tcp`, `3000-3005`)."""
    match = re.fullmatch(r"(?:.*:)?([0-9]{1,5})(?:-[0-9]{1,5})?(?:/(\w+))?", key.text())
    if not match:
        key.wrong("a port such as 8000")
    return int(match[1]), match[2] or ""


def _memory(key: Key) -> int:
    """The memory limit of a service in bytes, as Compose prints it; 0 if there is none."""
    limit = key.get("deploy").get("resources").get("limits").get("memory")
    limit = limit if limit.given else key.get("mem_limit")
    if not re.fullmatch(r"[0-9]{0,18}", limit.text()):
        limit.wrong("a number of bytes")
    return int(limit.text() or 0)


def _replicas(key: Key) -> int:
    scale = key.get("scale").whole(1, most=MOST_REPLICAS)
    return key.get("deploy").get("replicas").whole(scale, most=MOST_REPLICAS)


def _stops_first(order: Key) -> bool:
    """Whether Compose's `order` asks for it; by default both run for a moment, so that no request is dropped."""
    return order.given and order.choice("start-first", "stop-first") == "stop-first"


def _release(key: Key) -> tuple[str, ...]:
    words = key.words()
    if key.given and not words:
        key.wrong("a command such as `alembic upgrade head`")
    return words


def _awaited(depends_on: Key) -> tuple[str, ...]:
    if not isinstance(depends_on.value, dict):
        return ()
    conditions = {name: key.get("condition").text() for name, key in depends_on.mapping().items()}
    return tuple(
        name for name, condition in conditions.items() if condition == "service_completed_successfully"
    )


def _is_shared(key: Key, tracked: Callable[[str], bool]) -> bool:
    """Whether a mount is writable data shared by all releases: a named volume, or a directory that is not in the
    commit."""
    if not isinstance(key.value, dict) or key.get("read_only").yes():
        return False
    source = key.get("source").text()
    if key.get("type").text() == "volume":
        return bool(source)
    inside = not source.startswith(("/", "~"))
    return key.get("type").text() == "bind" and inside and not tracked(posixpath.normpath(source or "."))


def _is_volume(key: Key) -> bool:
    """Whether a mount is a volume managed by Docker, not a directory of the checkout or the host."""
    if isinstance(key.value, dict):
        return key.get("type").text() == "volume"
    return not key.text().startswith((".", "/", "~")) and ":" in key.text()

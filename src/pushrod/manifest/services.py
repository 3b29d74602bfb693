"""Turns a resolved compose document into the values of its services. Pure: reads no files."""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from pushrod.adapters.sandbox import NOT_YOUR_HOME
from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.traits import BY_NAME, EMBEDDED
from pushrod.core.values import Build, EngineName, Hook, Manifest, Routing, Service
from pushrod.manifest import (
    aliases,
    built_images,
    container_ports,
    discovery,
    domains,
    healthcheck,
    image_refs,
    kept,
    mounts,
    named_volumes,
    notes,
    notify,
    roles,
    routing,
    schedule,
    scraping,
    store_settings,
    tls,
)
from pushrod.manifest.discovery import Target
from pushrod.manifest.document import Key, scalar
from pushrod.manifest.drafts import Draft

KEEP = 5  # releases kept on the host unless the manifest says otherwise
MOST_KEPT = 100
MOST_REPLICAS = 100  # of a service, as for `pushrod scale`
MOST_INSTANCES = 200  # of all services together: each has an address, and a container or a process
_NAME = lazy(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_GRACE = 10.0  # seconds; Compose's default for stop_grace_period


def read(
    document: object,
    *,
    engine: EngineName = EMBEDDED.name,
    bases: Mapping[str, str] | None = None,
    exposed: Mapping[str, int] | None = None,
    store_versions: Mapping[str, str] | None = None,
    tracked: Callable[[str], bool] = lambda _: True,
    projects: Sequence[str] = (),
) -> Manifest:
    """The manifest that a resolved compose document describes, for an engine.

    `bases` maps each built service to its base image (`adapters.compose.bases`), which distinguishes a web server
    that is built from an app, and `exposed` to the port that its Dockerfile exposes. `store_versions` are the
    engine's versions by kind of store; another major version in the manifest gets a note. `tracked` tells whether
    the commit contains a path; a path it does not contain is data of the app. `projects` are the names Compose may
    give it. Raises ManifestError at the invalid key.
    """
    top = Key("", document)
    own = top.get("x-pushrod")
    own.only("backups", "domains", "keep", "nginx", "notify", "redirects", "tls", "trusted_proxies")
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
    targets, bases, built = discovery.targets(services), bases or {}, built_images.names(services, projects)
    builders, siblings = built_images.builders(services, built), built_images.siblings(services, built, bases)
    drafts = [
        _draft(
            name,
            key,
            (builder := builders.get(name, name)),
            services[builder],
            built_images.base(builder, bases, siblings),
            engine,
            asked_as,
        )
        for name, key in services.items()
    ]
    drafts = [_with_siblings(d, siblings.get(builders.get(d.name, d.name), {})) for d in drafts]
    drafts = [_hinted(d, (exposed or {}).get(builders.get(d.name, d.name), 0)) for d in drafts]
    drafts = [_with_target(d, targets[d.name], tracked) if d.name in targets else d for d in drafts]
    drafts, remarks, because = roles.derive(drafts, engine)
    drafts = [_with_stores(d, drafts) for d in drafts]
    if BY_NAME[engine].containers:
        staying = kept.kept(drafts, next(d.name for d in drafts if d.service.role == "entry"))
        drafts = [d.with_(role="store", keeps=True) if d.name in staying else d for d in drafts]
    else:
        named = aliases.read(services)
        for draft in (d for d in drafts if d.service.role in ("entry", "worker")):
            mounts.check(draft.key)
        stores = {d.name for d in drafts if d.service.role == "store"}
        drafts = [d.with_(aliases=named[d.name]) for d in drafts]
        drafts = [
            d.with_(volumes=(mounts.first_scripts if d.name in stores else mounts.read)(d.key))
            for d in drafts
        ]
    if not any(discovery.is_proxy(d.key) and d.service.role != "edge" for d in drafts):
        remarks = [*remarks, *_unused_labels(drafts, targets, names)]
    store_settings.check(drafts)
    routed = routing.read({name: key.get("x-pushrod") for name, key in services.items()}, own)
    _check_routed(routed, drafts, services)
    if not BY_NAME[engine].containers:
        remarks = [
            *remarks,
            *notes.embedded(drafts, store_versions or {}, tracked),
            *notes.embedded_domains(names),
        ]
        remarks += notes.embedded_volumes(top.get("volumes"), drafts, top.get("name").text())
        remarks += [*notes.embedded_backups(own.get("backups")), *notes.embedded_tls(own.get("tls"))]
    else:
        remarks = [*remarks, *notes.docker(drafts, tracked)]
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
        notify=notify.read(own.get("notify")),
        backups=schedule.read(
            own.get("backups"),
            [d.service for d in drafts],
            containers=BY_NAME[engine].containers,
            mounting=[d.name for d in drafts if d.key.get("volumes").given],
        ),
    )


def _with_stores(draft: Draft, drafts: Sequence[Draft]) -> Draft:
    """The draft with the contexts of the stores that build images for it."""
    if (build := draft.service.build) is None:
        return draft
    named = {build.of, *build.siblings.values()}
    stores = {
        d.name: d.service.build.context
        for d in drafts
        if d.name in named and d.service.role == "store" and d.service.build
    }
    return draft.with_(build=msgspec.structs.replace(build, stores=stores)) if stores else draft


def _with_siblings(draft: Draft, siblings: dict[str, str]) -> Draft:
    if not siblings or draft.service.build is None:
        return draft
    return draft.with_(build=msgspec.structs.replace(draft.service.build, siblings=siblings))


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
        if target.unknown and not draft.key.get("x-pushrod").get("routes").given:
            yield (
                f"{draft.name}: its labels name middlewares that the file does not define "
                f"({', '.join(dict.fromkeys(target.unknown))}); nothing does their work here. If one restricts "
                "access, write `x-pushrod: {routes: {/: {auth: {basic: SECRET}}}}`, or `allow`"
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


def _draft(
    name: str,
    key: Key,
    builder: str,
    building: Key,
    base: str,
    engine: EngineName,
    asked_as: str,
) -> Draft:
    """One service with everything its role is derived from; `builder` is the service that builds its image, from
    `base`.

    `asked_as` is the app's own name for health checks, empty if it has none.
    """
    if not _NAME.fullmatch(name):
        key.wrong("a service name of letters, digits, `-`, `_` and `.`, at most 63")
    own = key.get("x-pushrod")
    own.only("health", "metrics", "profile", "read_only", "release", "role", "routes", "settings", "sticky")
    image, build = key.get("image").text(), _build(building.get("build"), "" if builder == name else builder)
    if not image and build is None:
        key.wrong("a service with `image` or `build`")
    if build is None:
        image_refs.check(image, key.get("image").path)
    reference = image_refs.parse(base if build else image)
    ports = list(container_ports.published(key.get("ports")))
    port, exposed = container_ports.main(ports), container_ports.exposed(key.get("expose"))
    published = port.target
    replaced = not BY_NAME[engine].containers and image_refs.is_store(reference)
    java = image_refs.is_java(reference)
    health, checked = healthcheck.read(
        Key(key.path, None) if replaced else key.get("healthcheck"),
        own.get("health"),
        probe=not BY_NAME[engine].containers,
        name=asked_as,
        java=java,
    )
    listening = {
        "published": published,
        "exposed": exposed,
        "health": own.get("health").given and health.path,
        "routes": own.get("routes").given,
        "root": own.get("routes").given and "/" in own.get("routes").mapping(),
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
        metrics=scraping.read(own.get("metrics"), published or exposed or checked),
        release=_release(own.get("release")),
        memory=_memory(key),
        read_only=own.get("read_only").yes() or key.get("read_only").yes(),
        java=java,
        stop_first=_stops_first(key.get("deploy").get("update_config").get("order")),
        post_start=_hooks(key.get("post_start")),
        pre_stop=_hooks(key.get("pre_stop")),
        **store_settings.of(own),
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


def _hinted(draft: Draft, exposed: int) -> Draft:
    """The draft with the weaker evidence that it answers HTTP. The port that an image exposes is for its command."""
    argv = (*draft.service.entrypoint, *draft.service.command)
    if port := healthcheck.own_port(draft.key.get("healthcheck")):
        return draft._replace(hint="checked", hinted=port)
    if port := container_ports.bound(argv):
        return draft._replace(hint="bound", hinted=port)
    return draft._replace(hint="image") if exposed and not argv else draft


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
    if re.match("/?~", key.text()):  # the loader has replaced it by one of compose.HOME
        raise ManifestError(
            f"`{key.text().removeprefix('/')}` begins with `~`, {NOT_YOUR_HOME}",
            where=key.path,
            hint="commit the directory, and give its path inside the repository",
        )
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
    is_kept = named_volumes.is_kept(key, tracked)
    return is_kept and (key.get("type").text() == "bind" or bool(key.get("source").text()))


def _is_volume(key: Key) -> bool:
    """Whether a mount is a volume managed by Docker, not a directory of the checkout or the host."""
    if isinstance(key.value, dict):
        return key.get("type").text() == "volume"
    return not key.text().startswith((".", "/", "~")) and ":" in key.text()

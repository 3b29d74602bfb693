"""An app as a plain compose file, for `pushrod export compose`: `docker compose up` runs it without pushrod. Pure.

compose.yaml        all services, the stores, the edge, and what runs once before them
edge/               the edge's nginx configuration
secrets/            what must not be in Git: variables, and the scripts by which stores make the app's roles

Builds and mounts are below the directory with the commit's files, `${SOURCE}` in compose.yaml. Its default is in that
file, not in a `.env`, so that an export can be committed and pushed.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushrod.adapters import nginx
from pushrod.core import limits
from pushrod.core.errors import ManifestError, UnknownNameError
from pushrod.core.limits import Machine
from pushrod.core.site import CHAIN, KEY
from pushrod.core.values import Service
from pushrod.engines.docker import anonymous_volumes, containers, environment, rendering
from pushrod.engines.docker.containers import Place, Raw, Room
from pushrod.engines.exported import Exported, covered, is_hidden
from pushrod.state.apps import App, Root
from pushrod.stores import registry

FILE = "compose.yaml"
SECRETS = "secrets"
"""The directory that Git ignores."""

SCRIPTS = "/docker-entrypoint-initdb.d"
_HOME = Path("/edge")
# What is replaced in the text once it is written: no manifest can contain it.
_SOURCE, _PORT = f"@{uuid.uuid4().hex}@", f"@{uuid.uuid4().hex}@"
_EDGE = "edge"
_ROOM = Room(limits.defaults(Machine(1 << 44, 4096, 1 << 22)))
_START = (
    "mkdir -p /edge/run /edge/logs; rm -f /edge/run/mark.sock; "
    "ln -sf /dev/stdout /edge/logs/access.log; ln -sf /dev/stderr /edge/logs/error.log; "
    "exec nginx -p /edge/ -c /edge/trees/1/nginx.conf -e stderr -g 'user nginx;'"
)
_HEADER = """\
# Rendered by `pushrod export compose`: {app}, release {release}, commit {commit}.
# SOURCE is the directory with that commit's files.
"""


def files(x: Exported, source: str, edge: str, *, values: bool) -> dict[str, str]:
    """The files of the export, by path; `source` is the directory with the commit's files, as seen from the export.
    `values` adds those of secrets.
    """
    if any(s.name == _EDGE for s in x.manifest.services if s.role != "edge"):
        raise ManifestError(
            "`edge` is the name of the edge", where="services.edge", hint="rename the service"
        )
    header = _HEADER.format(app=x.app, release=x.release, commit=x.commit)
    text = rendering.dump(_document(x, edge)).replace(_SOURCE, _default(source))
    for port, name in ((80, "PORT"), (443, "TLS_PORT")):
        text = text.replace(f"{_PORT}{port}", f"${{{name}:-{port}}}:{port}")
    site = x.served(lambda service: service.name)
    tree = nginx.render_tree(
        "1",
        {site.app: site},
        listening=nginx.Listening(addresses=("0.0.0.0",), port=site.port),  # noqa: S104
        directory=_HOME,
        socket=_HOME / "run" / "mark.sock",
        known=nginx.Known(named=True),
    )
    result = {FILE: header + text} | {f"{_EDGE}/{path}": content for path, content in tree.items()}
    return result | (secrets(x) | {f"{SECRETS}/.gitignore": "*\n"} if values else {})


def _default(source: str) -> str:
    """The variable with the directory of the commit's files. Raises UnknownNameError for one that Compose could not
    read there."""
    if not re.fullmatch(r"[\w./ +,@=-]+", source):
        raise UnknownNameError(
            "Compose cannot read this path from a variable's default",
            where=source,
            hint="choose another directory",
        )
    return f"${{SOURCE:-{source}}}"


def moved(files: Mapping[str, str], source: str) -> dict[str, str]:
    """The files of an export from another machine, with the commit's files in this directory."""
    text = re.sub(r"(?<!\$)\$\{SOURCE:-[^}]*\}", lambda _: _default(source), files[FILE])
    older = {".env": f"SOURCE={source}\n"} if ".env" in files else {}
    return {**files, FILE: text, **older}


def secrets(x: Exported) -> dict[str, str]:
    """The files with values, by path."""
    result = {}
    for name, given in _environments(x).items():
        if closed := {n: v for n, v in given.items() if not x.is_open(n, v)}:
            result[_file(name)] = environment.render(closed)
    for store, scripts in x.scripts.items():
        result |= {f"{SECRETS}/{store}/{script}": text for script, text in scripts.items()}
    for kind in ("configs", "secrets"):
        for name, declared in (x.document.get(kind) or {}).items():
            if "file" not in declared:
                value = declared.get("content") or x.variables.get(str(declared.get("environment")), "")
                result[f"{SECRETS}/{kind}/{name}"] = str(value)
    return result | {f"{SECRETS}/passwords/{generation}": text for generation, text in x.passwords.items()}


def needed(x: Exported) -> dict[str, tuple[str, ...]]:
    """The names of the values in each file of secrets, and of the build arguments that Compose needs besides."""
    result: dict[str, tuple[str, ...]] = dict.fromkeys(secrets(x), ("the whole file",))
    for name, given in _environments(x).items():
        if closed := tuple(sorted(n for n, v in given.items() if not x.is_open(n, v))):
            result[_file(name)] = closed
    for service in x.manifest.services:
        if closed := tuple(sorted(_arguments(x, containers.raw_of(x.document, service.name)))):
            result[f"the environment, for the build of {service.name}"] = closed
    if x.site.tls:
        result |= dict.fromkeys(
            (f"{SECRETS}/certificate/{name}" for name in (CHAIN, KEY)), ("the whole file",)
        )
    return dict(sorted(result.items()))


def _environments(x: Exported) -> dict[str, Mapping[str, str]]:
    """The variables of each service of the exported file."""
    result = {s.name: x.environments[s.name] for s in x.instances}
    result |= {s.name: x.environments[f"{s.name}:release"] for s in x.manifest.stateless if s.role == "job"}
    result |= {_once(s): x.environments[f"{s.name}:release"] for s in x.instances if s.release}
    return result | {s.name: x.stores[s.name] for s in x.manifest.stores}


def _once(service: Service) -> str:
    return f"{service.name}-release"


def _file(name: str) -> str:
    return f"{SECRETS}/{name}.env"


# ---- the document -----------------------------------------------------------------------------------------------


def _document(x: Exported, edge: str) -> Raw:
    services = dict(_services(x, edge))
    mounted = [v for s in services.values() for v in s.get("volumes", []) if isinstance(v, dict)]
    used = sorted({v["source"] for v in mounted if v.get("type") == "volume" and v.get("source")})
    declared = x.document.get("volumes") or {}
    volumes = {key: dict(declared.get(key) or {}) for key in used}
    return {"name": x.app, "services": services, **({"volumes": volumes} if volumes else {})}


def _services(x: Exported, edge: str) -> Iterator[tuple[str, Raw]]:
    for store in x.manifest.stores:
        yield store.name, _store(x, store)
    first = [s.name for s in x.manifest.stateless if s.role == "job"]
    first += [_once(s) for s in x.instances if s.release]
    healthy = {s.name: {"condition": "service_healthy"} for s in x.manifest.stores if s.store}
    healthy |= {s.name: {"condition": "service_started"} for s in x.manifest.stores if not s.store}
    for service in x.manifest.stateless:
        raw = _service(x, service, service.name)
        if service.role == "job":
            yield service.name, _clean({**raw, "restart": "no", "depends_on": healthy})
            continue
        if service.release:
            once = {
                **raw,
                "command": list(service.release),
                "restart": "no",
                "depends_on": healthy,
                "scale": None,
            }
            once["healthcheck"] = None
            yield _once(service), _clean(once | _variables(x, _once(service)))
        done = {name: {"condition": "service_completed_successfully"} for name in first}
        restart = containers.raw_of(x.document, service.name).get("restart") or "unless-stopped"
        yield service.name, _clean({**raw, "restart": restart, "depends_on": {**healthy, **done}})
    yield _EDGE, _front(x, edge)


def _clean(raw: Raw) -> Raw:
    return {
        k: v
        for k, v in raw.items()
        if v is not None and v != {} and (v != [] or k in ("command", "entrypoint"))
    }


def _service(x: Exported, service: Service, name: str) -> Raw:
    """A service's container as pushrod would run it, with its limits and build as the manifest has them."""
    given = containers.raw_of(x.document, service.name)
    place = Place(App(Root(Path("/")), x.app), _bound, _ROOM, file=lambda *words: _private(x, *words[:2]))
    raw = containers.service_of(place, x.document, service, x.images[service.name])
    limits_of = {key: given.get(key) for key in ("mem_limit", "pids_limit")}
    resources = (given.get("deploy") or {}).get("resources")
    known = rendering.aliases(x.document, service.name)
    network = (
        {"default": {"aliases": known}} if known and not containers.isolated(x.document, service) else None
    )
    return _clean({
        **raw,
        **limits_of,
        "pull_policy": None,
        "oom_score_adj": given.get("oom_score_adj") or None,
        "build": _build(x, given),
        "deploy": {"resources": resources} if resources else None,
        "scale": service.replicas if service.replicas > 1 else None,
        "networks": network,
        "extra_hosts": given.get("extra_hosts"),
        "stop_grace_period": given.get("stop_grace_period"),
        "post_start": _hooks(x, given, f"services.{service.name}", "post_start"),
        "pre_stop": _hooks(x, given, f"services.{service.name}", "pre_stop"),
        **_variables(x, name),
    })  # fmt: skip


def _variables(x: Exported, name: str) -> Raw:
    given = _environments(x)[name]
    opened = {n: v for n, v in sorted(given.items()) if x.is_open(n, v)}
    return {
        "environment": opened or None,
        "env_file": [f"./{_file(name)}"] if len(opened) < len(given) else None,
    }


def _build(x: Exported, given: Mapping[str, Any]) -> Raw | None:
    if not (build := given.get("build")):
        return None
    context = str(build.get("context") or ".")
    arguments = {**(build.get("args") or {}), **dict.fromkeys(_arguments(x, given))}
    return {**build, "context": _bound(context), **({"args": arguments} if arguments else {})}


def _arguments(x: Exported, given: Mapping[str, Any]) -> list[str]:
    """The arguments of a service's build with the value of a secret: Compose takes these from its environment."""
    arguments = (given.get("build") or {}).get("args") or {}
    return [name for name, value in arguments.items() if value and _tells(x, str(value))]


def _tells(x: Exported, text: str) -> bool:
    """Whether a text contains the value of a secret."""
    return not x.is_open("PUSHROD_", text)


def _hooks(x: Exported, given: Mapping[str, Any], where: str, kind: str) -> Any:
    """The hooks of a service. Raises ManifestError if one has the value of a secret: Compose has no file for it."""
    for hook in given.get(kind) or []:
        if any(_tells(x, str(value)) for value in (hook.get("environment") or {}).values()):
            raise ManifestError(
                "the value of a secret would be in compose.yaml",
                where=f"{where}.{kind}.environment",
                hint="give it to the service in `environment`: its hooks have that too",
            )
    return given.get(kind)


def _bound(source: str) -> str:
    if source.startswith("/"):
        return source
    path = source.removeprefix("./").rstrip("/")
    return _SOURCE if path in ("", ".") else f"{_SOURCE}/{path}"


def _private(x: Exported, kind: str, name: str) -> str:
    declared = (x.document.get(kind) or {}).get(name) or {}
    return _bound(str(declared["file"])) if "file" in declared else f"./{SECRETS}/{kind}/{name}"


def _store(x: Exported, store: Service) -> Raw:
    raw = _service(x, store, store.name)
    kind = registry.of(store.store)
    if not raw.get("healthcheck") and (test := kind.check(store)):
        raw["healthcheck"] = {"test": test, "interval": "2s", "timeout": "5s", "retries": 150}
    if not raw.get("command") and not raw.get("entrypoint"):
        command = kind.exported_command(store, store.memory or 1 << 30)
        raw |= {"command": command} if command else {}
    mounted = [v for v in raw.get("volumes") or [] if not (v.get("type") == "volume" and not v.get("source"))]
    targets = {str(v.get("target")).rstrip("/") for v in mounted}
    for path in x.images[store.name].data:
        if not covered(path, targets):
            mounted.append(
                {"type": "volume", "source": anonymous_volumes.key(store.name, path), "target": path}
            )
    for script in sorted(x.scripts.get(store.name) or {}):
        source = f"./{SECRETS}/{store.name}/{script}"
        mounted.append({"type": "bind", "source": source, "target": f"{SCRIPTS}/{script}", "read_only": True})
    return _clean({**raw, "volumes": mounted, "restart": "unless-stopped"})


def _front(x: Exported, edge: str) -> Raw:
    app, volumes = (
        x.site.app,
        [{"type": "bind", "source": f"./{_EDGE}", "target": "/edge/trees/1", "read_only": True}],
    )
    for number, route in enumerate(x.site.routing.routes):
        if route.files:
            if wrong := [p for p in x.tree(route.files) or {} if is_hidden(p)]:
                raise ManifestError(
                    f"`{route.files}` has a hidden file, {wrong[0]}, which everybody could read",
                    where=f"routes.{route.prefix}.files",
                    hint="move it out of that directory",
                )
            target = _HOME / "static" / app / str(x.number) / str(number) / route.prefix.strip("/")
            volumes.append(
                {"type": "bind", "source": _bound(route.files), "target": str(target), "read_only": True}
            )
    if x.passwords:
        target = _HOME / "passwords" / app
        volumes.append(
            {"type": "bind", "source": f"./{SECRETS}/passwords", "target": str(target), "read_only": True}
        )
    if x.site.tls:
        target = _HOME / "certificates" / app / x.site.tls.generation
        volumes.append(
            {"type": "bind", "source": f"./{SECRETS}/certificate", "target": str(target), "read_only": True}
        )
    return {
        "image": edge,
        "command": ["/bin/sh", "-c", _START],
        "restart": "unless-stopped",
        "ports": [f"{_PORT}{port}" for port in x.site.ports],
        "depends_on": {s.name: {"condition": "service_started"} for s in x.reached},
        "stop_signal": "SIGQUIT",
        "stop_grace_period": "35s",
        "security_opt": ["no-new-privileges"],
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"],
        "volumes": volumes,
    }

"""The hooks of a release's containers, as they are recorded when it is sealed; `hooks` runs them.

Their environment may contain secrets, so it is in files beside those of the services.
"""

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from pushrod.core.errors import ManifestError
from pushrod.core.values import Hook, Manifest, Release, Service
from pushrod.engines.docker import hooks, names
from pushrod.engines.docker.hooks import Hooks
from pushrod.state.apps import App
from pushrod.system import files

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def texts(app: App, release: Release, manifest: Manifest, secrets: Mapping[str, str]) -> dict[str, str]:
    """The files to seal beside a release, by name; also writes the environment files that they refer to.

    Raises ManifestError for an environment that cannot be given to a command.
    """
    directory = names.environments(app, release.number)
    order = {name: n for n, name in enumerate(_in_order(manifest.stateless))}
    rows = [
        _row(names.instance(app, release.number, i.name), i.name, manifest.service(i.service), directory)
        for i in sorted(release.instances, key=lambda i: order[i.service])
    ]
    kept = names.store_environment(app, "").parent
    of_stores = [_row(names.store(app, s.name), s.name, s, kept) for s in manifest.stores]
    for service in (*manifest.stateless, *manifest.stores):
        prefix = "store." if service.role == "store" else ""
        for _, name, hook in _named(service):
            if hook.environment:
                text = _environment(hook.environment, secrets, service.name)
                files.make_private(directory)
                files.write(directory / f"{prefix}{name}", text, mode=0o600)
    sealed = {names.HOOKS: rows, names.STORE_HOOKS: of_stores}
    given = {name: [r for r in those if r.post_start or r.pre_stop] for name, those in sealed.items()}
    return {name: hooks.render(those) for name, those in given.items() if those}


def of_stores(app: App, release: Release) -> dict[Path, str]:
    """The text of every file of the stores' hooks while a release runs."""
    sealed, running = names.files(app, release.number) / names.STORE_HOOKS, names.running_hooks(app)
    if not sealed.exists():
        return {running: hooks.render([])} if running.exists() else {}
    kept = names.store_environment(app, "").parent
    environments = names.environments(app, release.number).glob("store.*.hook")
    files = {kept / path.name.removeprefix("store."): path.read_text() for path in environments}
    return files | {running: sealed.read_text()}


def remove_environments(app: App, store: str) -> None:
    """Remove the environment files of a removed store's hooks."""
    for kind in ("post_start", "pre_stop"):
        for path in names.store_environment(app, "").parent.glob(f"{glob.escape(store)}.{kind}.*.hook"):
            path.unlink(missing_ok=True)


def _in_order(services: Sequence[Service]) -> Sequence[str]:
    """The services in the order in which Compose starts them: each after its dependencies."""
    known = {s.name: s for s in services}
    graph = {s.name: [n for n in s.depends_on if n in known] for s in services}
    return tuple(TopologicalSorter(graph).static_order())  # the loader refuses cycles


def _named(service: Service) -> Iterator[tuple[str, str, Hook]]:
    """Each hook of a service, with its kind and the name of its environment file."""
    for kind, given in (("post_start", service.post_start), ("pre_stop", service.pre_stop)):
        for n, hook in enumerate(given):
            yield kind, f"{service.name}.{kind}.{n}.hook", hook


def _row(container: str, name: str, service: Service, environments: Path) -> Hooks:
    argvs = [(kind, _argv(container, hook, environments / path)) for kind, path, hook in _named(service)]
    kinds = [tuple(argv for of, argv in argvs if of == kind) for kind in ("post_start", "pre_stop")]
    return Hooks(container, name, *kinds)


def _argv(container: str, hook: Hook, environment: Path) -> tuple[str, ...]:
    options = ["--privileged"] if hook.privileged else []
    options += [f"--user={hook.user}"] if hook.user else []
    options += [f"--workdir={hook.working_dir}"] if hook.working_dir else []
    options += [f"--env-file={environment}"] if hook.environment else []
    return ("docker", "exec", *options, container, *hook.command)


def _environment(given: Mapping[str, str | None], secrets: Mapping[str, str], service: str) -> str:
    """A file as `docker exec --env-file` reads it: each line taken literally."""
    lines = []
    for name, value in given.items():
        known = secrets.get(name) if value is None else value
        if not _NAME.fullmatch(name) or (known and re.search(r"[\n\r\0]", known)):
            raise ManifestError(
                f"{name[:60]} cannot be in a hook's environment: a value is one line, and a name has no spaces",
                where=f"services.{service}",
                hint="set it on the service itself (`environment`): its hooks get it too",
            )
        lines += [] if known is None else [f"{name}={known}\n"]
    return "".join(lines)

"""Secrets in the argv of a program: other users can read them there, and an argv is part of the state."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod.adapters import compose
from pushrod.adapters.reading_limits import Reading
from pushrod.core.errors import ManifestError
from pushrod.core.values import Manifest, Service
from pushrod.state.secrets import is_trivial, tells_nothing

_SECRET_LENGTH = 8  # a secret's value of this length is not an ordinary word


def check(
    project: str, secrets: Mapping[str, str], manifest: Manifest, checkout: Path, file: str, reading: Reading
) -> None:
    """Refuse a manifest that puts a secret into an argv: other users can read it there, and it is part of the
    state.

    Only a reference to a variable whose name marks it as a secret counts. That an argv contains a word that is
    also a secret's value (`app`, `true`) proves nothing, except where Compose neither preserves the original form
    nor accepts another value for that secret.
    """
    reached = [
        (service.name, name)
        for service in manifest.services
        for name, value in secrets.items()
        if value and not (tells_nothing(name) or is_trivial(name, value))
        if value in " ".join(_argvs(service))
    ]
    if not reached:
        return
    written = compose.in_argvs(checkout, project=project, variables=secrets, file=file, most=reading)
    for service_name, name in reached:
        known = written.get(service_name)
        if known is None:
            others = compose.argvs_with(
                checkout, name, project=project, variables=secrets, file=file, most=reading
            )
            in_argv = len(secrets[name]) >= _SECRET_LENGTH if others is None else service_name in others
        else:
            in_argv = name in known
        if in_argv:
            raise ManifestError(
                f"the secret {name} would be in the argv of {service_name}",
                where=f"services.{service_name}",
                hint=f"pass it in `environment:` and let a shell expand it: sh -c 'exec … \"$${name}\"'",
            )


def moved(manifest: Manifest, secrets: Mapping[str, str]) -> Manifest:
    """The manifest for an engine that runs no store's command, but reads its password there: a word that is a secret
    is a reference to a variable of the store instead. Values of variables are no part of the state.
    """
    names = {v: n for n, v in secrets.items() if v and not (tells_nothing(n) or is_trivial(n, v))}

    def without(store: Service) -> Service:
        given = {names[word]: word for word in store.command if word in names}
        words = tuple(f"${names[word]}" if word in names else word for word in store.command)
        return msgspec.structs.replace(store, command=words, environment={**store.environment, **given})

    services = tuple(without(s) if s.role == "store" else s for s in manifest.services)
    return msgspec.structs.replace(manifest, services=services)


def _argvs(service: Service) -> tuple[str, ...]:
    """All argvs of a service."""
    hooks = (word for hook in (*service.post_start, *service.pre_stop) for word in hook.command)
    return (*service.entrypoint, *service.command, *service.release, *service.health.command, *hooks)

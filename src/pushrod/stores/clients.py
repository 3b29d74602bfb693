"""Whether an app's services have an account for a store that its manifest gives no password. Pure.

On one machine such a store would answer every local account. So it lets nobody in without a password, unless the
app could not use it otherwise: the file names it by hand, without the account that pushrod puts into addresses, or no
file of the commit reads the variable with that address.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from pushrod.core.patterns import lazy
from pushrod.core.values import Image, Manifest, Service
from pushrod.stores import registry, variables
from pushrod.stores.kinds import Endpoint

_NO_HOST = lazy(
    r"(?:ADAPTER|BACKEND|CACHE|CLIENT|CONNECTION|DRIVER|ENGINE|KIND|NAME|PREFIX|PROVIDER|QUEUE|SESSION|STORAGE|STORE|TYPE)$"
)
"""Variables whose value `redis` names a kind (`CACHE_DRIVER`), not a host."""

_KINDS = frozenset(name for kind in registry.KINDS for name in kind.usual)

_WAITS = lazy(r"wait|dockerize|\bnc\b|tcp://")
"""Programs that only connect, so that they need no account."""


def judged(
    manifest: Manifest, app: str, secrets: Mapping[str, str], is_read: Callable[[str], bool]
) -> Manifest:
    """The manifest with `closed` stores, and a note for each that stays open. `is_read` returns whether a file of the
    commit names a variable.
    """
    doubtful = {
        s.name for s in manifest.stores if s.store and registry.of(s.store).access(s, app).password == ""
    }
    if not doubtful:
        return manifest
    endpoints = [_endpoint(s) for s in manifest.stores if s.store]
    names = {url: name for name, url in variables.store_variables(endpoints).items()}
    services, notes = [], []
    for service in manifest.services:
        if service.name not in doubtful:
            services.append(service)
            continue
        variable = names[_endpoint(service).url]
        port = registry.of(service.store).access(service, app).port
        why = _need(service, port, variable, manifest.stateless, endpoints, secrets, is_read)
        services.append(msgspec.structs.replace(service, closed=not why))
        if why:
            notes.append(
                f"{service.name}: every account of this machine may use it without a password, because {why}; let "
                f"the app use `{variable}` alone, which pushrod sets, "
                f"or write `{variable}: redis://{service.name}:{port}/0`"
            )
    return msgspec.structs.replace(manifest, services=tuple(services), notes=(*manifest.notes, *notes))


def _endpoint(store: Service) -> Endpoint:
    """An address that no manifest contains, to recognise where pushrod puts the store's own."""
    url = f"redis://app:{_mark(store.name)}@127.0.0.1:1/0"
    return Endpoint(store.name, store.store or "", url, url, aliases=store.aliases)


def _mark(name: str) -> str:
    return f"account-of-{name}-by-pushrod"


def _need(
    store: Service,
    port: int,
    variable: str,
    services: Iterable[Service],
    endpoints: list[Endpoint],
    secrets: Mapping[str, str],
    is_read: Callable[[str], bool],
) -> str:
    """Why the app needs the store without a password; empty if it does not."""
    has_account = False
    for service in services:
        values = variables.resolve(service, Image(id=""), secrets=secrets, endpoints=endpoints, identity={})
        written = {*service.environment, *secrets}
        for name in (store.name, *store.aliases):
            for key, value in values.items():
                if key in written and _names(key, value, name, port):
                    return f"{service.name} reaches it by `{key}`"
            if _calls(service, name, port):
                return f"the command of {service.name} names it"
        has_account |= any(
            _mark(store.name) in value
            for key, value in values.items()
            if key in written or key.startswith("SPRING_")
        )
    if has_account or is_read(variable):
        return ""
    return f"no file of the commit reads `{variable}`"


def _names(variable: str, value: str, host: str, port: int) -> bool:
    """Whether a variable contains the host without an account."""
    if value.strip().lower() == host.lower():
        return host not in _KINDS or not _NO_HOST.search(variable.upper())
    name = re.escape(host)
    forms = rf'(?<![\w.-]){name}:{port}\b|://(?:[^/@\s]*@)?{name}(?![\w.-])|"host"\s*:\s*"{name}"'
    return re.search(forms, value, re.IGNORECASE) is not None


def _calls(service: Service, host: str, port: int) -> bool:
    """Whether a command of the service contains the host without an account."""
    hooks = (word for hook in (*service.post_start, *service.pre_stop) for word in hook.command)
    words = (*service.entrypoint, *service.command, *service.release, *service.health.command, *hooks)
    text, name = " ".join(words), re.escape(host)
    if re.search(rf"(?:redis|valkey)s?://(?:[^/@\s]*@)?{name}(?![\w.-])", text, re.IGNORECASE):
        return True
    forms = rf"(?<![\w.-]){name}:{port}\b|(?:-h|host)[ =]{name}(?![\w.-])"
    return re.search(forms, text, re.IGNORECASE) is not None and not _WAITS.search(text)

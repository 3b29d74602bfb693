"""What the labels for a service-discovering proxy say: traefik's and caddy's labels, nginx-proxy's variables.

Such a proxy needs Docker's socket, which would make it root on the host, so pushrod's edge replaces it. Its labels
say which service receives the app's traffic, at which port, under which names, and who may pass; none of that may
be ignored silently. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pushrod.core.patterns import lazy
from pushrod.manifest import grants, image_refs
from pushrod.manifest.document import Key

_PROXIES = frozenset((
    "traefik", "nginx-proxy", "acme-companion", "docker-letsencrypt-nginx-proxy-companion", "docker-gen",
    "caddy-docker-proxy",
))  # fmt: skip
_HOSTS = lazy(r"Host(?:SNI)?\(([^)]*)\)|^Host:([^;]+)")
_PATHS = lazy(r"Path(?:Prefix)?\(\s*[`'\"](/[\w./-]*)[`'\"]|^PathPrefix(?:Strip)?:\s*(/[\w./-]*)")
_NAME = lazy(r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_PORT = lazy(r"(?:.*\{\{\s*upstreams(?:\s+\S+)?\s+)?([0-9]{1,5})\s*(?:\}\})?")
# Middlewares of traefik (https://doc.traefik.io/traefik/middlewares/http/overview/) and directives of caddy that
# restrict access, and the labels of traefik 1 that do.
_GUARDS = lazy(r"basicauth|digestauth|forwardauth|ipallowlist|ipwhitelist|inflightreq|plugin")
# Names of middlewares that are defined elsewhere, in traefik's own files: those that seem to restrict access, and
# those that only change requests or answers.
_GUARDING = lazy(
    r"auth|allow|white|sso|vpn|oidc|login|ldap|protect|private|intern|restrict|guard|deny|block|passw|admin"
    r"|secured|(?:^|[-_])(?:lan|ip)(?:$|[-_])|local(?!e)|crowdsec"
)
_TRANSFORMING = lazy(r"redirect|compress|gzip|brotli|header|hsts|https|strip|prefix|www|cors|slash|rewrite")
_OLDER = lazy(r"traefik\.(?:\w+\.)?frontend\.(?:auth|whitelist)\.")
_CADDYS = lazy(r"caddy(?:_\d+)?\.(?:[\w.]*\.)?(?:basic_?auth|forward_auth)(?:\.|$)")
_MIDDLEWARES = lazy(r"traefik\.http\.routers\.[^.]+\.middlewares")
_MIDDLEWARE = lazy(r"traefik\.http\.middlewares\.([^.]+)\.(\w+)")


class Target(NamedTuple):
    """What labels and variables tell a proxy about a service: whether to route to it, its port (0: not given), its
    names, the label that restricts access (empty: none does), the path for which requests reach it (empty: any), and
    the middlewares that the file does not define.
    """

    reached: bool = False
    port: int = 0
    names: tuple[str, ...] = ()
    guard: str = ""
    path: str = ""
    unknown: tuple[str, ...] = ()


def is_proxy(service: Key) -> bool:
    """Whether a service is such a proxy."""
    return image_refs.parse(service.get("image").text()).name in _PROXIES


def asks_docker(service: Key) -> bool:
    """Whether a service is such a proxy, or its companion, and mounts Docker's socket to discover the others."""
    sources = (v.get("source").text() for v in service.get("volumes").sequence() if isinstance(v.value, dict))
    return is_proxy(service) and any(map(grants.is_socket, sources))


def targets(services: Mapping[str, Key]) -> dict[str, Target]:
    """What the labels of each service say, except those of the proxies themselves."""
    labels = {name: _labels(key) for name, key in services.items() if not is_proxy(key)}
    everybodys = {name: value for own in labels.values() for name, value in own.items()}
    return {name: _target(services[name], own, everybodys) for name, own in labels.items()}


def _target(service: Key, labels: Mapping[str, str], everybodys: Mapping[str, str]) -> Target:
    environment = {
        name: key.text() for name, key in service.get("environment").options().items() if _plain(key)
    }
    if isinstance(service.get("environment").value, list):
        environment = {name: text.partition("=")[2] for name, text in environment.items()}
    hosts, ports = [environment.get("VIRTUAL_HOST", "")], [environment.get("VIRTUAL_PORT", "")]
    paths = [environment.get("VIRTUAL_PATH", "")]
    for name, value in labels.items():
        if re.fullmatch(r"traefik\..*(?:rule|frontends?)", name):
            hosts += [text for matches in _HOSTS.findall(value) for text in matches]
            paths += [text for matches in _PATHS.findall(value) for text in matches]
        if re.fullmatch(r"caddy(?:_\d+)?", name):
            hosts.append(value)
        if re.fullmatch(r"traefik\.(?:.*server\.)?port|caddy(?:_\d+)?\.(?:[\w.]+\.)?reverse_proxy", name):
            ports.append(value)
    path = next((text for text in paths if text.startswith("/")), "")
    reached = any(hosts) or bool(path) or labels.get("traefik.enable") == "true"
    matches = (_PORT.fullmatch(text.strip()) for text in ports)
    port = next((int(m[1]) for m in matches if m), 0)
    return Target(
        reached,
        port,
        tuple(dict.fromkeys(_names(hosts))),
        _guard(labels, everybodys) if reached else "",
        path,
        tuple(_unknown(labels, everybodys)) if reached else (),
    )


def _names(texts: list[str]) -> Iterator[str]:
    for text in texts:
        yield from (word for word in re.split(r"[\s,`'\"]+", text) if _NAME.fullmatch(word))


def _guard(labels: Mapping[str, str], everybodys: Mapping[str, str]) -> str:
    """The label that restricts access; of traefik's middlewares, only those that a router of the service uses."""
    for name, value in labels.items():
        if _OLDER.match(name) or _CADDYS.match(name):
            return name
        if _MIDDLEWARES.fullmatch(name) and _keeps_out(value, everybodys, 0):
            return name
    return ""


def _unknown(labels: Mapping[str, str], everybodys: Mapping[str, str]) -> Iterator[str]:
    """The middlewares of a service's routers that are defined elsewhere and may do anything."""
    for label, value in labels.items():
        for word in map(str.strip, value.split(",")) if _MIDDLEWARES.fullmatch(label) else ():
            name = word.partition("@")[0]
            if name and not _defined(name, everybodys) and not _TRANSFORMING.search(name.lower()):
                yield word


def _defined(name: str, everybodys: Mapping[str, str]) -> dict[str, str]:
    """The labels that define a middleware, with its kind."""
    matches = ((label, _MIDDLEWARE.match(label)) for label in everybodys)
    return {label: m[2].lower() for label, m in matches if m and m[1] == name.lower()}


def _keeps_out(middlewares: str, everybodys: Mapping[str, str], depth: int) -> bool:
    for name in (word.strip().partition("@")[0] for word in middlewares.split(",")):
        defined = _defined(name, everybodys)
        chained = [everybodys[label] for label, kind in defined.items() if kind == "chain"]
        if any(map(_GUARDS.match, defined.values())) or (not defined and _guards(name.lower())):
            return True
        if depth < 5 and any(_keeps_out(value, everybodys, depth + 1) for value in chained):
            return True
    return False


def _guards(name: str) -> bool:
    """Whether the name of a middleware that is defined elsewhere says that it restricts access."""
    return bool(_GUARDING.search(name)) and not ("secure" in name and "header" in name)


def _labels(service: Key) -> dict[str, str]:
    given = service.get("labels")
    if isinstance(given.value, list):
        pairs = (item.text().partition("=") for item in given.sequence())
        return {name.lower(): value for name, _, value in pairs}
    return {name.lower(): str(key.value) for name, key in given.mapping().items()}


def _plain(key: Key) -> bool:
    return isinstance(key.value, str | int | float) and not isinstance(key.value, bool)

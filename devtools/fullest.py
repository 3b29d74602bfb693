"""An app that uses the edge up to every limit of the manifest and of custom nginx lines."""

from collections.abc import Sequence
from typing import Any

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.site import Site, group
from pushrod.core.values import Routing
from pushrod.ingress import snippets
from pushrod.ingress.snippets import amounts
from pushrod.manifest import domains, routing

_NAME = "docker/nginx/own.conf"


def document(routes: int = routing._MOST_ROUTES) -> dict[str, Any]:
    """A compose file at the limits: routes, rates, networks, headers, conditions, names."""
    chosen = {f"/r{n}/": _route(n) for n in range(routes)}
    names = [f"n{n}.full.test" for n in range(domains._MOST)]
    lead = {f"old{n}.full.test": names[0] for n in range(domains._MOST)}
    web = {"build": ".", "ports": ["80"], "x-pushrod": {"role": "entry", "routes": chosen}}
    return {"name": "full", "services": {"web": web}, "x-pushrod": {"domains": names, "redirects": lead}}


def _route(n: int) -> dict[str, Any]:
    each = routing._MOST_ALL_NETWORKS // routing._MOST_ROUTES
    made: dict[str, Any] = {"allow": [f"10.{n}.{m}.0/24" for m in range(each)]}
    if n < routing._MOST_RATES:
        made["rate_limit"] = "5/s"
    if n < routing._MOST_ALL_HEADERS // routing._MOST_HEADERS:
        made["headers"] = {f"X-{m}": "a" for m in range(routing._MOST_HEADERS)}
    if n < routing._MOST_ALL_BYPASSED // routing._MOST_ITEMS:
        bypass = [f"cookie:a{n}b{m}" for m in range(routing._MOST_ITEMS)]
        made["cache"] = {"time": "1s", "bypass": bypass}
    return made


def own_lines() -> str:
    """As many regular expressions as custom nginx lines may have."""
    low, high = 1, amounts._MOST_DIRECTIVES
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _passes(_expressions(middle)) else (low, middle - 1)
    return _expressions(low)


def _expressions(count: int) -> str:
    return "".join(f"location ~ ^/x{n}/[a-z]+/([0-9]+)$ {{ return 204; }}\n" for n in range(count))


def _passes(text: str) -> bool:
    try:
        snippets.check(
            text, _NAME, "full", (group("full", "web", "web"),), free=False, spent=snippets.Spent()
        )
    except ManifestError:
        return False
    return True


def site(app: str, port: int, backends: Sequence[str]) -> Site:
    """The app's site at the edge."""
    parsed = manifest.read(document(), engine="docker")
    given = {name: getattr(parsed.routing, name) for name in parsed.routing.__struct_fields__}
    own = Routing(**{**given, "snippets": {_NAME: own_lines()}})
    return Site(app, 1, port, tuple(backends), parsed.domains, entry="web", routing=own)

"""The environment a service receives: pure, from the manifest, the image, the secrets and the stores.

What comes later wins: the image's own, the app's secrets, the stores' addresses, the manifest's `environment`,
pushrod's. A value, of the manifest or a secret, that is the address of a store
(`postgresql://…@postgres:5432/shop`) means the store, not that host: it becomes the address this app was given.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pushrod.values import Image, Service, StoreKind, Value

_VARIABLE: dict[StoreKind, str] = {"postgres": "DATABASE_URL", "redis": "REDIS_URL"}
_FIRST = ("postgres", "postgresql", "db", "database", "redis", "valkey")


class Endpoint(Value, frozen=True):
    """Where a store is for this app. `url` is for its instances, `migrating_url` for the release command.

    With `adopts` an address in the manifest that has the store's name as its host becomes this one.
    """

    store: str
    kind: StoreKind
    url: str
    migrating_url: str
    adopts: bool = True


def store_variables(endpoints: Iterable[Endpoint], *, migrating: bool = False) -> dict[str, str]:
    """DATABASE_URL and REDIS_URL for the first store of each kind, `<NAME>_URL` for every further one."""
    variables: dict[str, str] = {}
    # A store whose own name makes the variable of its kind (`database`, `redis`) goes first, or it would take it.
    order = sorted(endpoints, key=lambda e: (_own_name(e) != _VARIABLE[e.kind], e.store not in _FIRST))
    for endpoint in order:
        name = _VARIABLE[endpoint.kind]
        if name in variables:
            name = _own_name(endpoint)
        variables[name] = endpoint.migrating_url if migrating else endpoint.url
    return variables


def _own_name(endpoint: Endpoint) -> str:
    return f"{endpoint.store.upper().replace('-', '_')}_URL"


def resolve(
    service: Service,
    image: Image,
    *,
    secrets: Mapping[str, str],
    endpoints: Iterable[Endpoint],
    identity: Mapping[str, str],
    migrating: bool = False,
) -> dict[str, str]:
    """The whole environment of one service. `identity` is PUSHROD_APP, PUSHROD_RELEASE and PUSHROD_COMMIT."""
    endpoints = list(endpoints)
    secrets = {name: _address(value, endpoints, migrating) for name, value in secrets.items()}
    own: dict[str, str] = {}
    for name, value in service.environment.items():
        if value is not None:
            own[name] = _address(value, endpoints, migrating)
        elif name in secrets:
            own[name] = secrets[name]
    return {
        **image.environment,
        **secrets,
        **store_variables(endpoints, migrating=migrating),
        **own,
        **identity,
    }


def _address(value: str, endpoints: list[Endpoint], migrating: bool) -> str:
    """The value, or the app's own address of the store whose service name it has as its host."""
    if "://" not in value:
        return value
    try:
        given = urlsplit(value)
        host = given.hostname
    except ValueError:
        return value
    for endpoint in endpoints:
        if endpoint.adopts and host == endpoint.store:
            url = urlsplit(endpoint.migrating_url if migrating else endpoint.url)
            path = given.path if endpoint.kind == "redis" and given.path.strip("/") else url.path
            return given._replace(netloc=url.netloc, path=path).geturl()
    return value

"""The environment a service receives: pure, from the manifest, the image, the secrets and the stores.

What comes later wins: the image's own, the app's secrets, the stores' addresses, the manifest's `environment`,
pushrod's. A value, of the manifest or a secret, that is the address of a store
(`postgresql://…@postgres:5432/shop`) means the store, not that host: it becomes the address this app was given.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pushrod.core.values import Image, Service, StoreKind, Value
from pushrod.stores import spring

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
    for endpoint in _in_order(endpoints):
        name = _VARIABLE[endpoint.kind]
        if name in variables:
            name = _own_name(endpoint)
        variables[name] = endpoint.migrating_url if migrating else endpoint.url
    return variables


def _in_order(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The first store of each kind first. One whose own name makes the variable of its kind (`database`, `redis`)
    goes before all, or another would take it."""
    return sorted(endpoints, key=lambda e: (_own_name(e) != _VARIABLE[e.kind], e.store not in _FIRST))


def provided(services: Iterable[Service], endpoints: Iterable[Endpoint]) -> set[str]:
    """The names that the stores' addresses have in any of these services."""
    endpoints = list(endpoints)
    return {*store_variables(endpoints)}.union(*(_spring(s, {}, endpoints, False) for s in services))


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
    own: dict[str, str] = {}
    for name, value in service.environment.items():
        if value is not None:
            own[name] = value
        elif name in secrets:
            own[name] = secrets[name]

    def address(values: Mapping[str, str]) -> dict[str, str]:
        return {name: _address(value, endpoints, migrating) for name, value in values.items()}

    return {
        **image.environment,
        **address(secrets),
        **store_variables(endpoints, migrating=migrating),
        **address(own),
        **_spring(service, own, endpoints, migrating),
        **identity,
    }


def _spring(
    service: Service, own: Mapping[str, str], endpoints: list[Endpoint], migrating: bool
) -> dict[str, str]:
    """What Spring Boot reads, for a service that is Java or has a variable of Spring's: nothing where the manifest
    names another server. They stay together: an address with another store's account would open nothing."""
    found: dict[str, str] = {}
    if not service.java and not any(name.startswith(spring.PREFIX) for name in service.environment):
        return found
    for kind, names in spring.NAMES.items():
        address = own.get(spring.ADDRESS[kind], "")
        mine = [e for e in _in_order(endpoints) if e.kind == kind]
        if address:
            mine = [e for e in mine if e.store in (address, spring.host(address))]
        if not mine or (not mine[0].adopts and any(name in own for name in names)):
            continue
        url = mine[0].migrating_url if migrating else mine[0].url
        found |= spring.datasource(address, url) if kind == "postgres" else spring.redis(url)
    return found


def _address(value: str, endpoints: list[Endpoint], migrating: bool) -> str:
    """The value, or the app's own address of the store whose service name it has as its host."""
    if "://" not in value:
        return value
    if named := spring.host(value):
        found = next((e for e in endpoints if e.adopts and (e.kind, e.store) == ("postgres", named)), None)
        return spring.address(value, found.migrating_url if migrating else found.url) if found else value
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

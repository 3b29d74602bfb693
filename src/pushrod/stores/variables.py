"""The environment of a service: pure, from the manifest, the image, the secrets and the stores.

Later sources take precedence: the image, the app's secrets, the stores' addresses, the manifest's `environment`,
pushrod. A value of the manifest or a secret that is the address of a store (`postgresql://…@postgres:5432/shop`)
refers to the store, not to that host: it is replaced by the store's address for this app.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from pushrod.core.values import Image, Service
from pushrod.stores import registry, spring
from pushrod.stores.kinds import Endpoint

__all__ = ["Endpoint", "provided", "resolve", "store_variables"]


def store_variables(endpoints: Iterable[Endpoint], *, migrating: bool = False) -> dict[str, str]:
    """The variable of its kind (DATABASE_URL, REDIS_URL) for the first store, `<NAME>_URL` for every further one."""
    variables: dict[str, str] = {}
    for endpoint in _in_order(endpoints):
        name = registry.of(endpoint.kind).variable
        if name in variables:
            name = _own_name(endpoint)
        variables[name] = endpoint.migrating_url if migrating else endpoint.url
    return variables


def _in_order(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """The first store of each kind first. A store whose own name gives the variable of its kind (`database`, `redis`)
    comes before all, or another would get that variable. If kinds share a variable, the first kind in the registry
    has it.
    """
    usual = {name for kind in registry.KINDS for name in kind.usual}

    def place(endpoint: Endpoint) -> tuple[int, bool, bool]:
        variable = registry.of(endpoint.kind).variable
        sharing = [kind.name for kind in registry.KINDS if kind.variable == variable]
        named = _own_name(endpoint) == variable
        return sharing.index(endpoint.kind), not named, endpoint.store not in usual

    return sorted(endpoints, key=place)


def provided(services: Iterable[Service], endpoints: Iterable[Endpoint]) -> set[str]:
    """The names of the stores' addresses in any of these services."""
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
    """The variables of Spring Boot, for a service that runs Java or has a variable of Spring's; none if the manifest
    names another server. They are set together: an address with another store's account would not work.
    """
    variables: dict[str, str] = {}
    if not service.java and not any(name.startswith(spring.PREFIX) for name in service.environment):
        return variables
    for kind in registry.KINDS:
        if not kind.spring or kind.spring[0] in variables:
            continue
        address = own.get(kind.spring[0], "")
        mine = [e for e in _in_order(endpoints) if e.kind == kind.name and e.spring]
        if address:
            mine = [e for e in mine if e.is_at(address, spring.host(address, kind.jdbc))]
        if not mine or (not mine[0].adopts and any(name in own for name in kind.spring)):
            continue
        url = mine[0].migrating_url if migrating else mine[0].url
        variables |= kind.spring_variables(address, url)
    return variables


def _address(value: str, endpoints: list[Endpoint], migrating: bool) -> str:
    """The value, or the app's own address of the store whose service name it has as its host."""
    if "://" not in value:
        return value
    for endpoint in endpoints:
        if endpoint.adopts and endpoint.is_at(spring.host(value, registry.of(endpoint.kind).jdbc)):
            return spring.address(value, endpoint.migrating_url if migrating else endpoint.url)
    try:
        given = urlsplit(value)
        host = given.hostname
    except ValueError:
        return value
    for endpoint in endpoints:
        if endpoint.adopts and endpoint.is_at(host):
            url = urlsplit(endpoint.migrating_url if migrating else endpoint.url)
            numbered = registry.of(endpoint.kind).numbered and given.path.strip("/")
            path = given.path if numbered else url.path
            return given._replace(netloc=url.netloc, path=path).geturl()
    return value

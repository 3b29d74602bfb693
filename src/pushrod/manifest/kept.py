"""Pulled services of unknown kind that Compose would leave alone from one `up` to the next. Pure.

Compose recreates a container when its definition changes, and that of a pulled image rarely does. So a database that
pushrod does not know may keep its data in its container or in an anonymous volume; if it were replaced like an
instance, each push would delete the data. So every pulled service is kept, except those that are known to have their
data elsewhere or none: clients of built services and of known stores, parts of this app, tools, programs that end.
"""

import re
from collections.abc import Sequence

from pushrod.manifest import connections, image_refs, likelihood, named_volumes
from pushrod.manifest.drafts import Draft

# Ports of stores, from the IANA's registrations and the makers' own documents: memcached, SQL Server, Oracle,
# MySQL, PostgreSQL, CouchDB, Redis, Neo4j, InfluxDB, ArangoDB, Cassandra, CockroachDB, MongoDB, RethinkDB, AMQP,
# NATS, Kafka, DB2, Firebird, LDAP, Tarantool.
_PORTS = frozenset((
    11211, 1433, 1521, 3306, 5432, 5984, 6379, 7687, 8086, 8529, 9042, 26257, 27017, 28015, 5672, 4222, 9092, 50000,
    3050, 389, 3301,
))  # fmt: skip


def kept(drafts: Sequence[Draft], entry: str) -> set[str]:
    """The names of these services; `drafts` have their roles, `entry` is the service that receives requests."""
    return {
        d.name for d in drafts if d.name != entry and _is_kept(d, [o for o in drafts if o.name != d.name])
    }


def _is_kept(draft: Draft, others: Sequence[Draft]) -> bool:
    service, image = draft.service, draft.reference.name
    if draft.chosen or service.role != "worker" or service.build is not None:
        return False
    if service.replicas != 1 or service.release or "routes" in draft.listening:
        return False
    runs = bool(service.command or service.entrypoint)
    if image_refs.is_web_server(draft.reference) or (runs and image_refs.is_runtime(draft.reference)):
        return False
    if _is_client(draft, others) or any(_is_of_one(draft, d, others) for d in others):
        return False
    if any(re.search(rf"(?<![\w.-]){re.escape(draft.name)}(?![\w-])", _own(d)) for d in others):
        return False
    if service.port in _PORTS or any(
        connections.names_server(d, connections.called([draft])) for d in others
    ):
        return not likelihood.is_stateless(image)
    if runs and draft.key.get("restart").text() == "no":  # it does its work, and ends
        return False
    if any(connections.leads_to(d, connections.called([draft])) for d in others):
        return not likelihood.is_stateless(image)
    # A service that no configuration names may be named in the app's code, or in a mounted file.
    tool = likelihood.is_tool(service, image) and not likelihood.keeps_own(image)
    return not (tool or likelihood.is_stateless(image) or _partakes(draft, others))


def _partakes(draft: Draft, others: Sequence[Draft]) -> bool:
    """Whether it mounts a named volume that another service mounts too."""
    return bool(named_volumes.of(draft.key) & {name for d in others for name in named_volumes.of(d.key)})


def _own(draft: Draft) -> str:
    """What a service's own keys for pushrod say."""
    return str(draft.key.get("x-pushrod").value or "")


def _is_client(draft: Draft, others: Sequence[Draft]) -> bool:
    """Whether it uses services that this app builds, or a store whose kind is known, and so has its data there.

    Peers in a cluster, collectors of telemetry and programs that prepare its start are none of these.
    """
    served = connections.called(
        d
        for d in others
        if (d.service.build is not None and d.service.role != "job") or image_refs.is_store(d.reference)
    )
    return connections.leads_to(draft, served)


def _is_of_one(draft: Draft, other: Draft, others: Sequence[Draft]) -> bool:
    """Whether both are parts of one application, which is not a cluster of equals: images of the same publisher, or
    the same image with another command.
    """
    if other.service.role == "store" or other.service.build is not None:
        return False
    if draft.service.image == other.service.image:
        return not connections.are_peers(draft, others)
    return image_refs.share_publisher(draft.reference, other.reference)

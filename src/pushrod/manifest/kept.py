"""Pulled services of unknown kind that Compose would leave alone from one `up` to the next. Pure.

Compose recreates a container when its definition changes, and that of a pulled image rarely does. So a database that
pushrod does not know may keep its data in its container or in an anonymous volume; if it were replaced like an
instance, each push would delete the data. A service is kept if others connect to it, or if its image marks it as a
server; it must connect to none of them, and must not be a part of this app.
"""

from collections.abc import Sequence

from pushrod.manifest import image_refs, likelihood
from pushrod.manifest.roles import Draft, leads_to

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
    service = draft.service
    if draft.chosen or service.role != "worker" or service.build is not None:
        return False
    if service.replicas != 1 or service.release or "routes" in draft.listening:
        return False
    runs, plain = bool(service.command or service.entrypoint), image_refs.is_web_server(draft.reference)
    ends = runs and draft.key.get("restart").text() == "no"
    if ends or plain or (runs and image_refs.is_runtime(draft.reference)):
        return False
    if leads_to(draft, {d.name for d in others}) or any(_is_of_one(draft, d) for d in others):
        return False
    if any(draft.name in str(d.key.get("x-pushrod").value) for d in others):
        return False
    if service.port in _PORTS or any(leads_to(d, {draft.name}) for d in others):
        return True
    # A service that no configuration names may be named in the app's code: an unmodified server.
    tool = likelihood.is_tool(service, draft.reference.name) and not likelihood.keeps_own(
        draft.reference.name
    )
    return not runs and not tool and bool(draft.listening) and not draft.key.get("volumes").sequence()


def _is_of_one(draft: Draft, other: Draft) -> bool:
    """Whether both are parts of one application: with the same image, or images of the same publisher."""
    if other.service.role == "store":
        return False
    publisher = draft.reference.path.rpartition("/")[0]
    same = bool(publisher) and publisher == image_refs.parse(other.service.image).path.rpartition("/")[0]
    return same or draft.service.image == other.service.image

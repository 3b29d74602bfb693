"""PostgreSQL: an app's own cluster, its roles, and a digest of its schema.

Each store has a cluster of its own, reachable only on 127.0.0.1 with a password. pushrod keeps the superuser's
password; the app gets a role that changes rows and one that changes the schema.
"""

from pushrod.adapters.postgres.cluster import configure, initialise, set_password
from pushrod.adapters.postgres.cluster import waiting as waiting_settings
from pushrod.adapters.postgres.figures import LIBRARY, Size, Statement, size, statements
from pushrod.adapters.postgres.programs import STOP_SIGNAL, SUPERUSER, Programs, server_argv
from pushrod.adapters.postgres.roles import (
    INSTANCES,
    LOGINS,
    Roles,
    ensure,
    ensure_monitor,
    initial_sql,
    monitor,
    remove_monitor,
)
from pushrod.adapters.postgres.schema import schema_digest
from pushrod.adapters.postgres.server import ContainerServer, Database, Row, Server, ready, refusal, url
from pushrod.adapters.postgres.sessions import restore_point, session_end, waiting

__all__ = [
    "INSTANCES",
    "LIBRARY",
    "LOGINS",
    "STOP_SIGNAL",
    "SUPERUSER",
    "ContainerServer",
    "Database",
    "Programs",
    "Roles",
    "Row",
    "Server",
    "Size",
    "Statement",
    "configure",
    "ensure",
    "ensure_monitor",
    "initial_sql",
    "initialise",
    "monitor",
    "ready",
    "refusal",
    "remove_monitor",
    "restore_point",
    "schema_digest",
    "server_argv",
    "session_end",
    "set_password",
    "size",
    "statements",
    "url",
    "waiting",
    "waiting_settings",
]

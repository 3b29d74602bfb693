"""PostgreSQL: an app's own cluster, its roles, and a digest of its schema.

Each store has a cluster of its own, reachable only on 127.0.0.1 with a password. pushrod keeps the superuser's
password; the app gets a role that changes rows and one that changes the schema.
"""

from pushrod.adapters.postgres.cluster import configure, initialise, set_password
from pushrod.adapters.postgres.dumps import Copy
from pushrod.adapters.postgres.programs import STOP_SIGNAL, SUPERUSER, Programs, server_argv
from pushrod.adapters.postgres.roles import Roles, ensure
from pushrod.adapters.postgres.schema import schema_digest
from pushrod.adapters.postgres.server import ContainerServer, Database, Row, Server, ready, url
from pushrod.adapters.postgres.sessions import end_sessions, waiting

__all__ = [
    "STOP_SIGNAL",
    "SUPERUSER",
    "ContainerServer",
    "Copy",
    "Database",
    "Programs",
    "Roles",
    "Row",
    "Server",
    "configure",
    "end_sessions",
    "ensure",
    "initialise",
    "ready",
    "schema_digest",
    "server_argv",
    "set_password",
    "url",
    "waiting",
]

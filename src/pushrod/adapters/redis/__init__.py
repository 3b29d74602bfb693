"""Redis: an app's own Valkey (or Redis, from version 7), reachable only on this machine.

The default user is off, unless the manifest gives a password without a user, or the app has no account for the
store: then it may do what the app's user may. The app's user may do everything with keys, channels and scripts, and
nothing to the server; pushrod's own user may query the server's state and make it write a snapshot. Writes are in
the append-only file and on disk within a second, so a crash of the machine costs at most that second.
"""

from pushrod.adapters.redis.commands import Reply, command, ready
from pushrod.adapters.redis.settings import (
    APP_USER,
    DEFAULT_USER,
    HEALTH_USER,
    RESTORING_USER,
    STOP_SIGNAL,
    WATCHING,
    WATCHING_USER,
    acl,
    configuration,
    configure,
    is_kept,
    lent,
    quoted,
    server_argv,
    url,
    version,
    waiting,
)
from pushrod.adapters.redis.snapshots import Snapshot, check_snapshot, snapshot

__all__ = [
    "APP_USER",
    "DEFAULT_USER",
    "HEALTH_USER",
    "RESTORING_USER",
    "STOP_SIGNAL",
    "WATCHING",
    "WATCHING_USER",
    "Reply",
    "Snapshot",
    "acl",
    "check_snapshot",
    "command",
    "configuration",
    "configure",
    "is_kept",
    "lent",
    "quoted",
    "ready",
    "server_argv",
    "snapshot",
    "url",
    "version",
    "waiting",
]

"""Settings of a PostgreSQL server: sized to the memory it may use, and what a manifest may override. Pure."""

import itertools
import re
from collections.abc import Mapping, Sequence

from pushrod.core.errors import StoreError
from pushrod.core.patterns import lazy

_MB = 1 << 20
_LEAST_CONNECTIONS = 100  # PostgreSQL's default
_POOL = 15  # connections of one instance: the default pool of SQLAlchemy with its overflow; HikariCP has 10
_SPARE = 20  # connections for the release command, backups and people
_CONNECTION = 4 * _MB  # memory of one, as a bound for their number
_VALUE = lazy(r"-?[0-9]+(?:\.[0-9]+)?(?:B|kB|MB|GB|us|ms|s|min|h|d)?|[a-z_]{1,20}")
_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

_MEMORY = frozenset((
    "effective_cache_size", "maintenance_work_mem", "min_dynamic_shared_memory", "shared_buffers", "temp_buffers",
    "wal_buffers", "work_mem",
))  # fmt: skip

OVERRIDABLE = _MEMORY | frozenset((
    "autovacuum_analyze_scale_factor", "autovacuum_max_workers", "autovacuum_naptime",
    "autovacuum_vacuum_cost_limit", "autovacuum_vacuum_scale_factor", "checkpoint_timeout", "deadlock_timeout",
    "default_statistics_target", "effective_io_concurrency", "hash_mem_multiplier",
    "idle_in_transaction_session_timeout", "idle_session_timeout", "jit", "lock_timeout",
    "log_autovacuum_min_duration", "log_lock_waits", "log_min_duration_statement", "log_statement", "log_temp_files",
    "max_connections", "max_locks_per_transaction", "max_parallel_workers", "max_parallel_workers_per_gather",
    "max_prepared_transactions", "max_wal_size", "max_worker_processes", "min_wal_size", "random_page_cost",
    "seq_page_cost", "statement_timeout",
))  # fmt: skip
"""What an app's manifest may set: nothing that names a file, a program or a library, or makes data less safe."""

AT_START = frozenset((
    "autovacuum_max_workers", "max_connections", "max_locks_per_transaction", "max_prepared_transactions",
    "max_worker_processes", "min_dynamic_shared_memory", "shared_buffers", "shared_preload_libraries", "wal_buffers",
))  # fmt: skip
"""The settings that a server takes only when it starts (`context` is `postmaster` in pg_settings)."""

_SINCE = {
    "log_parameter_max_length": 13,
    "log_parameter_max_length_on_error": 13,
    "min_dynamic_shared_memory": 14,
}

LOGGED = {
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
"""Slow statements and long waits are logged, without the values of parameters, which may be personal."""


def sized(memory: int, connections: int = _LEAST_CONNECTIONS) -> dict[str, str]:
    """The settings for a server that may use `memory` bytes, for this number of connections.

    A quarter is for shared buffers, as the manual proposes for a server of its own (19.4.1); the system's cache has
    most of the rest. `min_dynamic_shared_memory` keeps the memory of parallel queries out of /dev/shm, of which a
    container has 64 MB unless it is created with more.
    """
    return {
        "max_connections": str(connections),
        "shared_buffers": _megabytes(memory // 4, 16, 8192),
        "effective_cache_size": _megabytes(memory * 3 // 4, 64, 1 << 20),
        "work_mem": _megabytes(memory // connections, 4, 64),
        "maintenance_work_mem": _megabytes(memory // 16, 16, 1024),
        "min_dynamic_shared_memory": _megabytes(memory // 32, 8, 512),
    }


def connections(instances: int, memory: int) -> int:
    """How many connections a server of this memory (bytes) accepts: enough for two releases at once, each with this
    number of instances, as far as the memory allows.
    """
    return max(_LEAST_CONNECTIONS, min(2 * _POOL * instances + _SPARE, memory // _CONNECTION))


def complete(memory: int, instances: int, overrides: Mapping[str, str]) -> dict[str, str]:
    """All settings of a server: sized, logged, then the manifest's. Raises StoreError for an override that the memory
    cannot hold.
    """
    for name in _MEMORY & overrides.keys():
        if name != "effective_cache_size" and _bytes(name, overrides[name]) > memory:
            raise StoreError(
                f"{name} = {overrides[name]} is more than the store may use: {memory // _MB} MB",
                where="its settings in the manifest",
                hint="set a smaller value, or give the store more memory (`mem_limit`)",
            )
    return {**sized(memory, connections(instances, memory)), **LOGGED, **overrides}


def known(settings: Mapping[str, str], major: int) -> dict[str, str]:
    """Those of these settings that a major version has (release notes of PostgreSQL 13 and 14)."""
    return {name: value for name, value in settings.items() if _SINCE.get(name, 0) <= major}


def problem(name: str, value: str) -> str:
    """What is wrong with an override; empty if nothing is."""
    if name not in OVERRIDABLE:
        return f"not `{name}`: what can be set is in docs/manifest.md"
    if not _VALUE.fullmatch(value):
        return "a number, with or without a unit (`64MB`, `5s`, `0.9`), or one word (`on`)"
    if name == "max_connections" and not (value.isdecimal() and 10 <= int(value) <= 5000):
        return "a number from 10 to 5000"
    return ""


def of_command(words: Sequence[str]) -> dict[str, str]:
    """The settings in a server's argv (`-c name=value`, `--name=value`) that a manifest may override."""
    given = [b for a, b in itertools.pairwise(words) if a in ("-c", "--set")]
    given += [word.removeprefix("--") for word in words if re.fullmatch(r"--[a-z_-]+=.*", word)]
    given += [word.removeprefix("-c") for word in words if re.fullmatch(r"-c[a-z_-]+=.*", word)]
    pairs = [(name.replace("-", "_"), value) for name, _, value in (word.partition("=") for word in given)]
    return {name: value for name, value in pairs if not problem(name, value)}


def _megabytes(count: int, least: int, most: int) -> str:
    return f"{min(max(count // _MB, least), most)}MB"


def _bytes(name: str, value: str) -> int:
    """A size in bytes; a number without a unit counts blocks of 8 kB, or kB or MB for some."""
    match = re.fullmatch(r"(-?[0-9]+)([A-Za-z]*)", value)
    if not match:
        return 0
    plain = {"work_mem": 1 << 10, "maintenance_work_mem": 1 << 10, "min_dynamic_shared_memory": _MB}.get(
        name, 8192
    )
    return int(match[1]) * (_UNITS.get(match[2], 1) if match[2] else plain)

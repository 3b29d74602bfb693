import os
from pathlib import Path

import pytest

from pushrod.adapters.postgres import cluster
from pushrod.adapters.postgres.programs import Programs
from pushrod.core.errors import StoreError
from pushrod.system.accounts import Account


def programs(directory: Path, version: str) -> Programs:
    (directory / "postgres").write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
    (directory / "postgres").chmod(0o755)
    return Programs(directory)


def test_initdb_argv_uses_the_builtin_provider_of_a_newer_version(tmp_path: Path) -> None:
    argv = cluster.initdb_argv(programs(tmp_path, "18.6"), Path("/w/data"), Path("/w/password"))
    assert argv == [
        str(tmp_path / "initdb"),
        "--locale=C.UTF-8",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--username=postgres",
        "--pwfile=/w/password",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--no-instructions",
        "--pgdata=/w/data",
    ]


def test_initdb_argv_of_an_older_version_has_no_provider(tmp_path: Path) -> None:
    argv = cluster.initdb_argv(programs(tmp_path, "16.9"), Path("/w/data"), Path("/w/password"))
    assert not [a for a in argv if "builtin" in a]
    assert "--locale=C.UTF-8" in argv


def test_data_of_another_major_version_are_refused_and_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    with pytest.raises(StoreError) as caught:
        cluster.initialise(programs(tmp_path, "18.6"), data, "x", None)
    assert caught.value.what == "the data is from PostgreSQL 15, and the PostgreSQL here is 18.6"
    assert caught.value.where == str(data)
    assert "not touched" in caught.value.hint
    assert [p.name for p in data.iterdir()] == ["PG_VERSION"]


def test_data_of_this_version_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    cluster.initialise(programs(tmp_path, "18.6"), data, "x", None)  # there is no initdb to run
    assert [p.name for p in data.iterdir()] == ["PG_VERSION"]


def test_data_of_another_user_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    somebody = Account("somebody", os.geteuid() + 4321, os.getegid())
    with pytest.raises(StoreError, match=f"would run as user {somebody.uid}"):
        cluster.initialise(programs(tmp_path, "18.6"), data, "x", somebody)


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious").write_text("mine")
    with pytest.raises(StoreError, match="not a PostgreSQL data directory"):
        cluster.initialise(programs(tmp_path, "18.6"), data, "x", None)
    assert (data / "precious").read_text() == "mine"


def test_configure_writes_once_and_returns_whether_it_wrote(tmp_path: Path) -> None:
    assert cluster.configure(tmp_path, 5000)
    assert not cluster.configure(tmp_path, 5000)
    assert cluster.configure(tmp_path, 5001)
    assert (tmp_path / "postgresql.conf").read_text() == cluster.configuration(5001)
    assert (tmp_path / "pg_hba.conf").read_text() == cluster.hba()


def test_a_setting_of_a_newer_pushrod_waits_for_the_next_restart(tmp_path: Path) -> None:
    cluster.configure(tmp_path, 5000)
    library = {"shared_preload_libraries": "pg_stat_statements", "work_mem": "8MB"}
    assert cluster.waiting(tmp_path, 5000, "127.0.0.1", library) == ["shared_preload_libraries"]
    assert cluster.waiting(tmp_path / "new", 5000, "127.0.0.1", library) == []
    assert not cluster.configure(tmp_path, 5000, settings={"shared_preload_libraries": "pg_stat_statements"})
    assert "shared_preload_libraries = 'pg_stat_statements'\n" in (tmp_path / "postgresql.conf").read_text()
    assert cluster.configure(
        tmp_path, 5000, "127.64.0.2", settings={"shared_preload_libraries": "pg_stat_statements"}
    )


def test_configure_keeps_the_users_own_settings(tmp_path: Path) -> None:
    (tmp_path / "local.conf").write_text("work_mem = '8MB'\n")
    cluster.configure(tmp_path, 5000)
    assert (tmp_path / "local.conf").read_text() == "work_mem = '8MB'\n"


def test_configure_does_not_write_through_a_link(tmp_path: Path) -> None:
    """The directory is the server's: a link it places there must not make us write elsewhere."""
    (tmp_path / "data").mkdir()
    (tmp_path / "victim").write_text("untouched")
    for name in ("postgresql.conf", "local.conf"):
        (tmp_path / "data" / name).symlink_to("../victim" if name != "local.conf" else "../created")
    cluster.configure(tmp_path / "data", 5000)
    assert (tmp_path / "victim").read_text() == "untouched"
    assert not (tmp_path / "created").exists()


def test_the_configuration_is_complete() -> None:
    assert cluster.configuration(25432, settings={"work_mem": "8MB"}) == CONFIGURATION


def test_hba_requires_a_password_for_every_connection() -> None:
    rules = [line.split() for line in cluster.hba().splitlines() if not line.startswith("#")]
    assert rules == [
        ["host", "all", "all", "127.0.0.1/32", "scram-sha-256"],
        ["host", "replication", "postgres", "127.0.0.1/32", "scram-sha-256"],
    ]


CONFIGURATION = """\
# Written by pushrod, and written again whenever it differs. Your own settings: local.conf, beside this file.
listen_addresses = '127.0.0.1'
port = 25432
unix_socket_directories = ''
password_encryption = 'scram-sha-256'

random_page_cost = 1.1
jit = off

fsync = on
synchronous_commit = on
full_page_writes = on
wal_compression = on
min_wal_size = '80MB'
max_wal_size = '512MB'

log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_timezone = 'UTC'
log_checkpoints = off

timezone = 'UTC'
datestyle = 'iso, mdy'
lc_messages = 'C'
lc_monetary = 'C.UTF-8'
lc_numeric = 'C.UTF-8'
lc_time = 'C.UTF-8'
default_text_search_config = 'pg_catalog.english'

work_mem = '8MB'

include = 'local.conf'
"""

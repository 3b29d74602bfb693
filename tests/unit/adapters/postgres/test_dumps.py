"""The calls of PostgreSQL's programs for a dump; their effect is tested with real servers."""

import io
from pathlib import Path

import pytest

from pushrod.adapters.postgres.dumps import Copy
from pushrod.adapters.postgres.programs import Programs
from pushrod.adapters.postgres.server import ContainerServer, Server
from pushrod.core.errors import StoreError


def server(directory: Path, **programs: str) -> Server:
    """A server whose programs are scripts."""
    for name, body in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{body}\n")
        (directory / name).chmod(0o755)
    return Server(Programs(directory), 1, "hidden-password")


def copy(server: Server, database: str = "shop") -> Copy:
    return Copy(server, database, lambda _: None)


def test_a_dump_and_its_row_counts_use_one_snapshot(tmp_path: Path) -> None:
    psql = f"""
while read -r line; do
    echo "$line" >> {tmp_path}/sql
    case $line in
    *export_snapshot*) echo 00000003-0000001B-1 ;;
    "set transaction snapshot '00000003-0000001B-1';") echo public.goods,3 ;;
    esac
done
echo ended >> {tmp_path}/sql"""
    made = server(tmp_path, psql=psql, pg_dump=f'echo "$*"; echo dumped >> {tmp_path}/sql')
    written = io.BytesIO()
    assert copy(made).dump(written) == {"public.goods": 3}
    assert b"--snapshot=00000003-0000001B-1" in written.getvalue()
    lines = (tmp_path / "sql").read_text().splitlines()
    assert lines.index("dumped") < len(lines) - 1 - lines[::-1].index(
        "ended"
    )  # the exporting session stays until the end


def test_the_error_of_a_server_that_refuses_a_snapshot_is_reported(tmp_path: Path) -> None:
    made = server(
        tmp_path, psql="echo 'psql: error: connection failed: FATAL:  sorry'; exit 2", pg_dump="exit 0"
    )
    with pytest.raises(StoreError, match=r"^sorry$"):
        copy(made).dump(io.BytesIO())


def test_a_failed_dump_reports_the_cause(tmp_path: Path) -> None:
    psql = "while read -r line; do case $line in *export_snapshot*) echo 0-1 ;; esac; done"
    made = server(tmp_path, psql=psql, pg_dump="echo 'pg_dump: error: no such luck' >&2; exit 1")
    with pytest.raises(StoreError, match=r"^no such luck$"):
        copy(made).dump(io.BytesIO())


def test_a_client_that_reconnects_is_ended_again(tmp_path: Path) -> None:
    refuses = 'ERROR:  database "shop" is being accessed by other users'
    psql = f"""
script=$(cat)
case $script in *"rename to"*)
    echo x >> {tmp_path}/tries
    [ "$(wc -l < {tmp_path}/tries)" -gt 2 ] || {{ echo '{refuses}' >&2; exit 3; }} ;;
esac"""
    made = server(tmp_path, psql=psql, pg_restore="cat > /dev/null")
    assert copy(made).restore(io.BytesIO(), {}) == "shop_before_restore"
    assert (tmp_path / "tries").read_text() == "x\nx\nx\n"
    (tmp_path / "tries").unlink()
    made = server(tmp_path, psql=psql.replace("-gt 2", "-gt 99"))
    with pytest.raises(StoreError, match="being accessed"):
        copy(made).restore(io.BytesIO(), {})


def test_a_name_derived_from_the_longest_name_stays_within_the_limit(tmp_path: Path) -> None:
    made = server(tmp_path, psql="cat > /dev/null", pg_restore="cat > /dev/null")
    kept = copy(made, "d" * 63).restore(io.BytesIO(), {})
    assert (len(kept), kept[-15:]) == (63, "_before_restore")


def test_a_container_runs_its_own_programs() -> None:
    result = ContainerServer("shop-postgres", "me", {"HOME": "/h"}).command("pg_dump", "--x", database="shop")
    assert result.argv[:3] == ["docker", "exec", "--interactive"]
    assert result.argv[-5:] == ["shop-postgres", "pg_dump", "--x", "--username=me", "--dbname=shop"]
    assert result.environment == {"HOME": "/h"}
    listing = ContainerServer("shop-postgres", "me", {}).command("pg_restore", "--file=/dev/null")
    assert not [w for w in listing.argv if w.startswith("--dbname")]


def test_a_database_beside_is_there_complete_or_not_at_all(tmp_path: Path) -> None:
    psql = f'while read -r line; do echo "$line" >> {tmp_path}/sql; done'
    made = server(
        tmp_path, psql=psql, pg_restore="cat > /dev/null; echo 'pg_restore: error: cut off' >&2; exit 1"
    )
    with pytest.raises(StoreError, match=r"^cut off$"):
        copy(made).restore_as(io.BytesIO(b"half"), {"public.goods": 3}, "scratch")
    lines = (tmp_path / "sql").read_text().splitlines()
    assert lines[-1] == 'drop database if exists :"database";'
    assert [n for n in lines if n.startswith(r"\set database")][-1] == r"\set database 'scratch'"


def test_a_copy_beside_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    """The running database writes to the same disk."""
    psql = f"while read -r line; do case $line in *pg_database_size*) echo {1 << 60},{tmp_path} ;; esac; done"
    made = server(tmp_path, psql=psql, pg_restore=f"touch {tmp_path}/begun")
    words = "a copy beside the database needs"
    with pytest.raises(StoreError, match=words):
        copy(made).rehearse(io.BytesIO())
    with pytest.raises(StoreError, match=words):
        copy(made).restore(io.BytesIO(), {})
    with pytest.raises(StoreError, match=words):
        copy(made).restore_as(io.BytesIO(), {}, "scratch")
    with pytest.raises(StoreError, match=words):
        copy(made).load(io.BytesIO(), made)
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize(
    ("answer", "free"),
    [("overlay 100 40 60 40% /var/lib/postgresql/data", 60 * 1024), ("-", None)],
)
def test_the_free_space_of_a_container(tmp_path: Path, answer: str, free: int | None) -> None:
    docker = tmp_path / "docker"
    head = "Filesystem 1024-blocks Used Available Capacity Mounted on"
    docker.write_text(f"#!/bin/sh\necho '{head}'\necho '{answer}'\n")
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert ContainerServer("shop-db", "postgres", environment).free("/var/lib/postgresql/data") == free

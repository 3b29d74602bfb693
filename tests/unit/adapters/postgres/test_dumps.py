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


def test_a_dump_is_of_the_snapshot_in_which_its_rows_are_counted(tmp_path: Path) -> None:
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
    told = (tmp_path / "sql").read_text().splitlines()
    assert told.index("dumped") < len(told) - 1 - told[::-1].index(
        "ended"
    )  # the exporting session stays until the end


def test_a_server_that_refuses_a_snapshot_is_heard(tmp_path: Path) -> None:
    made = server(
        tmp_path, psql="echo 'psql: error: connection failed: FATAL:  sorry'; exit 2", pg_dump="exit 0"
    )
    with pytest.raises(StoreError, match=r"^sorry$"):
        copy(made).dump(io.BytesIO())


def test_a_dump_that_fails_says_why(tmp_path: Path) -> None:
    psql = "while read -r line; do case $line in *export_snapshot*) echo 0-1 ;; esac; done"
    made = server(tmp_path, psql=psql, pg_dump="echo 'pg_dump: error: no such luck' >&2; exit 1")
    with pytest.raises(StoreError, match=r"^no such luck$"):
        copy(made).dump(io.BytesIO())


def test_a_client_that_connects_again_at_once_is_ended_again(tmp_path: Path) -> None:
    refuses = 'ERROR:  database "shop" is being accessed by other users'
    psql = f"""
script=$(cat)
case $script in *"rename to"*)
    echo x >> {tmp_path}/tries
    [ "$(wc -l < {tmp_path}/tries)" -gt 2 ] || {{ echo '{refuses}' >&2; exit 3; }} ;;
esac"""
    made = server(tmp_path, psql=psql, pg_restore="cat > /dev/null")
    assert copy(made).restore(io.BytesIO()) == "shop_before_restore"
    assert (tmp_path / "tries").read_text() == "x\nx\nx\n"
    (tmp_path / "tries").unlink()
    made = server(tmp_path, psql=psql.replace("-gt 2", "-gt 99"))
    with pytest.raises(StoreError, match="being accessed"):
        copy(made).restore(io.BytesIO())


def test_names_beside_the_longest_are_still_names(tmp_path: Path) -> None:
    made = server(tmp_path, psql="cat > /dev/null", pg_restore="cat > /dev/null")
    kept = copy(made, "d" * 63).restore(io.BytesIO())
    assert (len(kept), kept[-15:]) == (63, "_before_restore")


def test_a_container_is_asked_with_its_own_programs() -> None:
    found = ContainerServer("shop-postgres", "me", {"HOME": "/h"}).command("pg_dump", "--x", database="shop")
    assert found.argv[:3] == ["docker", "exec", "--interactive"]
    assert found.argv[-5:] == ["shop-postgres", "pg_dump", "--x", "--username=me", "--dbname=shop"]
    assert found.environment == {"HOME": "/h"}
    listing = ContainerServer("shop-postgres", "me", {}).command("pg_restore", "--file=/dev/null")
    assert not [w for w in listing.argv if w.startswith("--dbname")]

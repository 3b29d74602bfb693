"""How a MariaDB in a container is asked, and what its programs say; real ones are in the lab."""

import os
from pathlib import Path

import pytest

from pushrod.adapters import mariadb
from pushrod.core.errors import HostError, StoreError


@pytest.mark.parametrize(
    ("output", "what", "denied"),
    [
        (
            "ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)\n",
            "Access denied for user 'root'@'localhost' (using password: YES)",
            True,
        ),
        ("ERROR 1064 (42000) at line 3: You have an error\n", "You have an error", False),
        ("mariadb-dump: Got error: 1049: \"Unknown database 'x'\" when selecting\n", None, False),
        (
            "ERROR 1044 (42000): Access denied for user 'a'@'%' to database 'b'\n",
            "Access denied for user 'a'@'%' to database 'b'",
            False,
        ),
        ("Error response from daemon: Container 1f is not running\n", None, False),
        ("", "the client failed without an error message", False),
    ],
)
def test_an_error_of_a_program_is_classified(output: str, what: str | None, denied: bool) -> None:
    error = mariadb.refusal(output, "container x")
    assert what is None or error.what == what
    assert error.hint
    assert mariadb.is_denied(error) is denied
    assert error.what in (what, "\"Unknown database 'x'\" when selecting", output.strip())


def test_names_and_texts_are_quoted() -> None:
    assert mariadb.name("a`b") == "`a``b`"
    assert mariadb.text("it's \\n") == "'it''s \\\\n'"
    assert mariadb.url("a@b", "p/w", "db", 3306, "shop") == "mysql://a%40b:p%2Fw@db:3306/shop"


def test_accounts_of_a_long_name_stay_within_the_limit() -> None:
    assert mariadb.Roles.of("shop") == ("shop_migrator", "shop_app")
    longest = mariadb.Roles.of("a" * 31)
    assert [len(name) for name in longest] == [32, 32]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that records its argv, the password and its input; returns the file it writes."""
    program, record = tmp_path / "bin" / "docker", tmp_path / "record"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
echo "$MYSQL_PWD: $*" | tr '\\n' ' ' >> {record}
sql=$(cat)
printf '%s\\n' "$sql" >> {record}
if [ "$MYSQL_PWD" = old ]; then
    echo "ERROR 1045 (28000): Access denied for user 'x' (using password: YES)" >&2
    exit 1
fi
case "$sql" in
*mysql.user*) printf 'root\\nshop_app\\n' ;;
*schema_privileges*shop_app*) printf 'SELECT\\nCREATE\\n' ;;
*version*) echo 11.4.2-MariaDB-log ;;
*tabs*) printf 'a\\\\tb\\\\\\\\n\\tNULL\\n' ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return record


def test_the_password_of_root_is_in_no_argv(docker: Path) -> None:
    server = mariadb.Server("shop-db", lambda: "s3cret")
    assert server.version() == "11.4.2"
    assert server.query("select tabs") == [("a\tb\\n", "NULL")]
    record = docker.read_text()
    assert record.startswith("s3cret: exec --interactive --env MYSQL_PWD shop-db sh -c ")
    assert record.count("s3cret") == 2


def test_only_differences_are_written(docker: Path) -> None:
    server = mariadb.Server("shop-db", lambda: "s3cret")
    mariadb.ensure(server, "shop", "sales", {"migrator": "m", "app": "old"}, ddl=False)
    last = docker.read_text().rpartition("--connect-timeout=10")[2].splitlines()
    assert last[1:] == [
        "create user 'shop_migrator'@'%' identified by 'm';",
        "grant ALL on `sales`.* to 'shop_migrator'@'%';",
        "revoke all privileges on `sales`.* from 'shop_app'@'%';",
        "grant SELECT, INSERT, UPDATE, DELETE, EXECUTE, SHOW VIEW, CREATE TEMPORARY TABLES, LOCK TABLES on `sales`.* "
        "to 'shop_app'@'%';",
        "alter user 'shop_app'@'%' identified by 'old';",
    ]


def test_a_refusal_is_an_error(docker: Path) -> None:
    with pytest.raises(StoreError, match="Access denied"):
        mariadb.Server("shop-db", lambda: "old").query("select 1")


def test_an_answer_of_millions_of_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app's own image decides how many there are."""
    (tmp_path / "docker").write_text("#!/bin/sh\nyes 1 | head -c 6000000\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostError, match="prints more than 4 MiB"):
        mariadb.Server("shop-db", lambda: "").query("select 1")

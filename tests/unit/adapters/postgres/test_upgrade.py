"""What is carried to a new cluster; tests/integration/test_upgrades.py and tests/lab have servers."""

from collections.abc import Callable

import pytest

from pushrod.adapters.dumps import Command
from pushrod.adapters.postgres import upgrade
from pushrod.core.errors import StoreError
from pushrod.system.streams import Sink

ROLES = """\
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
CREATE ROLE "Old One";
GRANT a TO b WITH ADMIN OPTION GRANTED BY postgres;
GRANT a TO "GRANTED BY x;" GRANTED BY "of ""me"" ;";
COMMENT ON ROLE a IS 'GRANT a TO b GRANTED BY c;';
"""


class Server:
    """A server that answers each query by its text."""

    def __init__(self, answers: Callable[[str, str], list[tuple[str, ...]]]) -> None:
        self._answers = answers

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[tuple[str, ...]]:
        """As `Database.query`."""
        return self._answers(sql, database)

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """As `Database.command`."""
        raise NotImplementedError

    def read(self, path: str, sink: Sink) -> None:
        """As `Database.read`."""

    def free(self, path: str) -> int | None:
        """As `Database.free`."""
        return None

    def as_role(self, role: str, password: str) -> "Server":
        """As `Database.as_role`."""
        return self


def test_roles_come_without_the_superuser_and_without_who_granted_them() -> None:
    assert upgrade.roles_for(ROLES, "postgres").splitlines() == [
        "ALTER ROLE postgres WITH SUPERUSER;",
        'CREATE ROLE "Old One";',
        "GRANT a TO b WITH ADMIN OPTION;",
        'GRANT a TO "GRANTED BY x;";',
        "COMMENT ON ROLE a IS 'GRANT a TO b GRANTED BY c;';",
    ]
    assert 'CREATE ROLE "Old One"' not in upgrade.roles_for(ROLES, "Old One")


def test_settings_that_the_new_version_does_not_know_stay_behind() -> None:
    given = "# Do not edit\nwork_mem = '4MB'\nold_snapshot_threshold = '1h'\npg_stat_statements.max = '10'\n"
    server = Server(lambda _sql, _database: [("work_mem",), ("jit",)])
    assert upgrade.settings_for(server, given) == "work_mem = '4MB'\npg_stat_statements.max = '10'\n"


@pytest.mark.parametrize(
    ("prepared", "spaces", "what"), [("1", "0", "prepared transactions"), ("0", "2", "tablespaces")]
)
def test_what_no_dump_contains_is_refused(prepared: str, spaces: str, what: str) -> None:
    row = ("postgres", "", "1000", "/data", prepared, spaces, "")
    server = Server(lambda sql, _: [row] if "pg_authid" in sql else [("md5",)])
    with pytest.raises(StoreError, match=what):
        upgrade.facts(server)


def counts(rows: dict[str, str], *, roles: str = "x") -> Server:
    def answer(sql: str, database: str) -> list[tuple[str, ...]]:
        if "datallowconn" in sql:
            return [("shop",), ("template1",)]
        if "rolpassword" in sql:
            return [("app", roles)]
        result: list[tuple[str, ...]] = [*rows.items()]
        return result if database == "shop" else []

    return Server(answer)


@pytest.mark.parametrize(
    ("new", "what"),
    [
        (counts({"public.a": "3"}), "public.b missing instead of 2"),
        (counts({"public.a": "3", "public.b": "1"}), "public.b 1 instead of 2"),
        (counts({"public.a": "3", "public.b": "2"}, roles="y"), "roles or their passwords differ"),
    ],
)
def test_a_difference_is_an_error(new: Server, what: str) -> None:
    old = counts({"public.a": "3", "public.b": "2"})
    upgrade.compare(old, old)
    with pytest.raises(StoreError, match=what):
        upgrade.compare(old, new)


@pytest.mark.slow
def test_clients_that_do_not_end_are_an_error() -> None:
    left: list[list[tuple[str, ...]]] = [[("1", "t")], []]
    upgrade.alone(Server(lambda _sql, _database: left.pop(0)), 5)
    with pytest.raises(StoreError, match="do not end"):
        upgrade.alone(Server(lambda _sql, _database: [("1", "t")]), 0)

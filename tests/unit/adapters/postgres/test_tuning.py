"""What is changed in a server, decided from what it says of itself. A real one: tests/lab/test_backups.py."""

from pushrod.adapters.dumps import Command
from pushrod.adapters.postgres import tuning
from pushrod.adapters.postgres.server import Row
from pushrod.system.streams import Sink


class Server:
    """A server with these settings: its answer to the look, and what was sent afterwards."""

    def __init__(self, rows: list[Row], loaded: Row = ("", "")) -> None:
        self.answer = [*rows, loaded]
        self.sent: list[str] = []

    def query(self, sql: str, database: str = "postgres", *, timeout: float = 30.0) -> list[Row]:
        """As `Database.query`."""
        self.sent.append(sql)
        return []

    def command(self, program: str, *argv: str, database: str = "", timeout: float = 30.0) -> Command:
        """As `Database.command`."""
        raise NotImplementedError

    def read(self, path: str, sink: Sink) -> None:
        """As `Database.read`."""
        raise NotImplementedError

    def free(self, path: str) -> int | None:
        """As `Database.free`."""
        raise NotImplementedError

    def as_role(self, role: str, password: str) -> "Server":
        """As `Database.as_role`."""
        return self


WORK = ("work_mem", "", "user", "default", "f")
SHARED = ("shared_buffers", "", "postmaster", "configuration file", "f")


def test_missing_settings_are_set_and_those_of_the_start_wait() -> None:
    server = Server([WORK, SHARED])
    result = tuning.difference(
        server.answer, {"work_mem": "8MB", "shared_buffers": "64MB", "unknown": "1"}, {}
    )
    assert result == tuning.Difference({"work_mem": "8MB", "shared_buffers": "64MB"}, (), ("shared_buffers",))
    tuning.apply(server, result)
    assert server.sent == [
        "alter system set work_mem = '8MB';\nalter system set shared_buffers = '64MB';\nselect pg_reload_conf();\n"
    ]


def test_what_somebody_else_has_set_stays() -> None:
    theirs = ("work_mem", "99MB", "user", "configuration file", "f")
    option = ("shared_buffers", "", "postmaster", "command line", "f")
    settings = {"work_mem": "8MB", "shared_buffers": "64MB"}
    assert tuning.difference(Server([theirs, option]).answer, settings, {"work_mem": ["4MB"]}) == ({}, (), ())


def test_our_own_values_are_replaced_and_reset() -> None:
    ours = ("work_mem", "4MB", "user", "configuration file", "f")
    assert tuning.difference(Server([ours]).answer, {"work_mem": "8MB"}, {"work_mem": ["4MB"]}).set == {
        "work_mem": "8MB"
    }
    assert tuning.difference(Server([ours]).answer, {}, {"work_mem": ["4MB"]}).reset == ("work_mem",)
    assert tuning.difference(Server([ours]).answer, {}, {"work_mem": ["2MB"]}).reset == ()


def test_a_setting_that_waits_is_reported_until_the_restart() -> None:
    set_before = ("shared_buffers", "64MB", "postmaster", "configuration file", "t")
    result = tuning.difference(
        Server([set_before]).answer, {"shared_buffers": "64MB"}, {"shared_buffers": ["64MB"]}
    )
    assert result == ({}, (), ("shared_buffers",))


def test_the_library_joins_those_that_are_loaded() -> None:
    row = ("shared_preload_libraries", "", "postmaster", "configuration file", "f")
    server = Server([row], ("1", "timescaledb"))
    result = tuning.difference(server.answer, {}, {})
    assert result.set == {"shared_preload_libraries": "timescaledb,pg_stat_statements"}
    tuning.apply(server, result)
    assert "shared_preload_libraries = 'timescaledb', 'pg_stat_statements';" in server.sent[0]
    assert tuning.difference(Server([row], ("", "")).answer, {}, {}).set == {}
    assert tuning.difference(Server([row], ("1", "pg_stat_statements")).answer, {}, {}).set == {}


def test_a_few_values_of_each_setting_are_remembered() -> None:
    ours: tuning.Ours = {}
    for n in range(8):
        ours = tuning.remembered(ours, {"work_mem": f"{n}MB"})
    assert ours == {"work_mem": ["3MB", "4MB", "5MB", "6MB", "7MB"]}
    assert tuning.remembered(ours, {"work_mem": "4MB"})["work_mem"][-1] == "4MB"

"""Names of segments and positions, as PostgreSQL writes them, and the part of a segment that is copied."""

import io

import pytest

from pushrod.adapters.logs import Position, UnfitError
from pushrod.adapters.postgres.server import Row
from pushrod.adapters.postgres.wal import Log, location, segment, segment_number
from pushrod.core.errors import StoreError
from pushrod.system.streams import Sink

SIZE = 16 << 20
NAME = "0000000100000002000000FF"


def position(end: int, size: int = SIZE) -> Position:
    return Position("7", "2026-11-22T14:00:00+00:00", end, 1, size, "18", "/data", True, 0)


@pytest.mark.parametrize(
    ("timeline", "number", "size", "name"),
    [
        (1, 1, SIZE, "000000010000000000000001"),
        (1, 256, SIZE, "000000010000000100000000"),
        (11, 0x2FF, SIZE, "0000000B00000002000000FF"),
        (1, 64, 64 << 20, "000000010000000100000000"),
    ],
)
def test_a_segment_has_postgresqls_name(timeline: int, number: int, size: int, name: str) -> None:
    assert segment(timeline, number, size) == name
    assert segment_number(name, size) == number


def test_a_position_is_read_as_it_is_printed() -> None:
    assert location("0/16B3748") == 0x16B3748
    assert location("2/FF000000") == 0x2FF * SIZE


class Files:
    """A server whose files have a content."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, path: str, sink: Sink) -> None:
        """Write it, in two blocks."""
        assert path == f"/data/pg_wal/{NAME}"
        sink.write(self.content[:100])
        sink.write(self.content[100:])


@pytest.mark.parametrize("valid", [1, 100, 101, 4000])
def test_only_what_is_flushed_is_copied(valid: int) -> None:
    """What follows in the file may be written at that moment, or left from an earlier segment."""
    log, out = Log(Files(bytes(range(250)) * 20), "store db"), io.BytesIO()  # type: ignore[arg-type]
    log.copy(position(0x2FF * SIZE + valid), NAME, out)
    assert out.getvalue() == (bytes(range(250)) * 20)[:valid]


def test_a_segment_that_is_too_short_is_refused() -> None:
    log = Log(Files(bytes(200)), "store db")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="shorter"):
        log.copy(position(0x2FF * SIZE + 201), NAME, io.BytesIO())


def test_no_bound_is_set_for_the_slots_of_others() -> None:
    asked: list[str] = []

    class Server:
        def query(self, sql: str) -> list[tuple[str, ...]]:
            """A slot of another program, and no bound."""
            asked.append(sql)
            return [("debezium",)]

    with pytest.raises(UnfitError, match="the slot debezium of another program"):
        Log(Server(), "store db").hold(1 << 30)  # type: ignore[arg-type]
    assert len(asked) == 1


GENUINE = (
    *("7", "2026-11-22T14:00:00.000000+00:00", "0/16B3748", "000000010000000000000001", str(SIZE), "/data"),
    *("replica", "10", "reserved", ""),
)


class Answers:
    """A server of an app's own image."""

    def __init__(self, version: list[Row], row: Row = GENUINE) -> None:
        self.version, self.row = version, row

    def query(self, sql: str) -> list[Row]:
        """Whatever it likes."""
        return self.version if "server_version_num" in sql else [self.row]


def changed(**values: str) -> Row:
    names = ("system", "at", "end", "first", "size", "directory", "level", "slots", "slot", "kept")
    return tuple(values.get(name, value) for name, value in zip(names, GENUINE, strict=True))


def test_a_position_is_what_the_server_answers() -> None:
    at = Log(Answers([("180001",)]), "store db").position()  # type: ignore[arg-type]
    assert (at.major, at.end, at.segment_size, at.at) == ("18", 0x16B3748, SIZE, GENUINE[1])


@pytest.mark.parametrize(
    ("version", "row"),
    [
        ([], GENUINE),
        ([("",)], GENUINE),
        ([("x",)], GENUINE),
        ([("180001", "1")], GENUINE),
        ([("180001",)], GENUINE[:-1]),
        *(
            ([("180001",)], changed(**{name: value}))
            for name, value in (
                ("at", "-" * 32),
                ("at", "2026-13-22T14:00:00.000000+00:00"),
                ("at", "2026-11-22T14:00:00.000000-07:00"),
                ("at", "2026-11-22T14:00:00.000000+00:0x"),
                ("size", "9999999999"),
                ("size", "3000000"),
                ("size", "0"),
                ("end", "0/"),
                ("end", "0/16B374800"),
                ("first", "../../../../etc/passwd"),
                ("kept", "x"),
            )
        ),
    ],
)
def test_what_is_no_answer_of_postgresql_is_an_error_of_that_store(version: list[Row], row: Row) -> None:
    """Anything else would end the work for all apps, or be recorded and end it each time."""
    with pytest.raises(StoreError, match="not PostgreSQL's"):
        Log(Answers(version, row), "store db").position()  # type: ignore[arg-type]

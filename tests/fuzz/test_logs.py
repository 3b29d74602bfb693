"""Logs of any bytes, written in any pieces: each line is shown once and unchanged, and no raw byte reaches a
terminal."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters.nginx.access import AccessLog
from pushrod.core import lines
from pushrod.core.printable import plain
from pushrod.engines.embedded import logs
from pushrod.system import tails

NOISE = (
    b"a",
    b" ",
    b"\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\x1b[31m",
    b"\x1b]0;t\x07",
    b"\x9b",
    b"\xc2\x9b",
    b"\xe2\x80\xae",
)
BYTES = st.lists(
    st.one_of(st.sampled_from((*NOISE, b"\xff", b"\x0c", b"\xc2\x85", b"x" * 500)), st.binary(max_size=4))
).map(b"".join)


@given(BYTES)
def test_only_newlines_end_a_line(raw: bytes) -> None:
    text = lines.decode(raw)
    result = lines.split(text)
    assert "\n".join(result) in (text, text.removesuffix("\n"))
    assert not any("\n" in line for line in result)


@given(BYTES, st.integers(0, 60))
def test_the_last_lines_are_read_from_any_log(raw: bytes, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "web-1.log"
        path.write_bytes(raw)
        everything = lines.split(lines.decode(raw))
        required = everything[len(everything) - min(count, len(everything)) :]
        assert list(tails.of_file(path, count)) == required
        assert [line.text for line in logs.read(lambda: [], [path], count, follow=False)] == required


@given(st.lists(BYTES, max_size=6))
def test_following_returns_each_complete_line_once(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        path = Path(name) / "web-1.log"
        waiting = iter(pieces)

        def write_more(_seconds: float) -> None:
            with path.open("ab") as f:
                f.write(next(waiting))

        path.write_bytes(b"")
        patch.setattr("time.sleep", write_more)
        result: list[str] = []
        with pytest.raises(RuntimeError):  # StopIteration in a generator: everything has been written
            for line in logs.read(lambda: [path], [path], 5, follow=True):
                result.append(line.text)
        whole = b"".join(pieces).rpartition(b"\n")[0]
        expected = lines.split(lines.decode(whole + b"\n")) if b"\n" in b"".join(pieces) else []
        assert result[: len(expected)] == expected[: len(result)]


@given(st.text())
def test_a_line_has_no_control_characters_with_or_without_colours(text: str) -> None:
    for shown in (plain(text), re.sub(r"\x1b\[[0-9;]*m", "", plain(text, colours=True))):
        assert all(c.isprintable() or c in "\t\xa0\u2009\u202f\u3000\u200c\u200d" for c in shown)


REQUEST: dict[str, object] = {
    "time": "2026-01-01T00:00:00+00:00",
    "app": "shop",
    "release": 1,
    "status": 200,
    "path": "/",
}


def written(request: dict[str, object]) -> bytes:
    """As nginx writes it: without spaces."""
    return json.dumps(request, separators=(",", ":")).encode()


FIELDS = st.dictionaries(
    st.sampled_from(("time", "app", "release", "status", "path", "seconds", "upstream", "x")),
    st.one_of(
        st.text(max_size=6),
        st.integers(-1, 1 << 70),
        st.floats(),
        st.none(),
        st.lists(st.integers(), max_size=2),
    ),
)


@given(st.lists(st.one_of(FIELDS.map(lambda f: written({**REQUEST, **f})), BYTES), max_size=6))
def test_any_access_log_is_read(entries: list[bytes]) -> None:
    """A line that is not a request, or was torn, is skipped; the others are shown."""
    with tempfile.TemporaryDirectory() as name:
        sound = written(REQUEST)
        (Path(name) / "access.log").write_bytes(b"\n".join([sound, *entries, sound]) + b"\n")
        result = AccessLog(Path(name), "shop").last(1000)
        assert len(result) >= 2
        assert all(request.app == "shop" for request in result)

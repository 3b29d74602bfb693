"""The journal of a real sequence of deployments, interrupted, torn and damaged at every possible place."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pushrod.core.errors import StateError
from pushrod.state.journal import Entry, Journal, Story
from pushrod.system import processes
from tests.conftest import beside
from tests.unit import reads

Written = tuple[str, int, dict[str, Any]]

# A first release, a failed one, one whose migration went live, a rollback, one that failed while it was prepared;
# with each event's effect on the story: live, last, open event, whether it reached `live`, migrated.
SEQUENCE: list[tuple[Written, tuple[int, int, str, bool, tuple[int, ...]]]] = [
    (("prepare", 1, {"commit": "a" * 40}), (0, 1, "prepare", False, ())),
    (("promote", 1, {"commit": "a" * 40}), (0, 1, "promote", False, ())),
    (("step", 1, {"step": "release", "migrated": True}), (0, 1, "promote", False, (1,))),
    (("live", 1, {"commit": "a" * 40}), (1, 1, "promote", True, (1,))),
    (("done", 1, {}), (1, 1, "", False, (1,))),
    (("prepare", 2, {"commit": "b" * 40}), (1, 2, "prepare", False, (1,))),
    (("promote", 2, {"previous": 1}), (1, 2, "promote", False, (1,))),
    (("failed", 2, {"why": "not healthy"}), (1, 2, "", False, (1,))),
    (("prepare", 3, {}), (1, 3, "prepare", False, (1,))),
    (("promote", 3, {"previous": 1}), (1, 3, "promote", False, (1,))),
    (("step", 3, {"step": "release", "migrated": False}), (1, 3, "promote", False, (1,))),
    (("step", 3, {"step": "release", "migrated": True}), (1, 3, "promote", False, (1, 3))),
    (("live", 3, {}), (3, 3, "promote", True, (1, 3))),
    (("done", 3, {}), (3, 3, "", False, (1, 3))),
    (("promote", 1, {"previous": 3, "fresh": False}), (3, 3, "promote", False, (1, 3))),
    (("live", 1, {}), (1, 3, "promote", True, (1, 3))),
    (("done", 1, {}), (1, 3, "", False, (1, 3))),
    (("prepare", 4, {}), (1, 4, "prepare", False, (1, 3))),
    (("failed", 4, {"step": "prepare", "why": "interrupted — ä"}), (1, 4, "", False, (1, 3))),
]
EVENTS = st.sampled_from(["prepare", "promote", "step", "live", "done", "failed"])


def write(journal: Journal, written: Written) -> None:
    event, release, fields = written
    journal.append(event, release, **fields)  # type: ignore[arg-type]


def summary(story: Story) -> tuple[int, int, str, bool, tuple[int, ...]]:
    event = story.open.event if story.open else ""
    return (story.live, story.last, event, story.reached_live, story.migrated)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the whole sequence, as written normally."""
    path = tmp_path_factory.mktemp("whole") / "journal"
    for written, _ in SEQUENCE:
        write(Journal(path), written)
    return path.read_bytes()


def test_a_missing_journal_is_empty(journal: Journal) -> None:
    assert journal.entries() == []
    assert journal.story() == Story()


def test_an_event_round_trips(journal: Journal) -> None:
    journal.append("promote", 7, previous=6, fresh=False, commit="abc")
    journal.append("failed", 7, why="no", step="ready", took=1.5)
    promote, failed = journal.entries()
    assert promote == Entry(at=promote.at, event="promote", release=7, previous=6, fresh=False, commit="abc")
    assert (failed.why, failed.step, failed.took) == ("no", "ready", 1.5)
    assert promote.at <= failed.at


def test_an_invalid_event_is_refused_before_it_is_written(journal: Journal) -> None:
    with pytest.raises(ValueError, match="event"):
        journal.append("promoted", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prevoius"):
        journal.append("promote", 1, prevoius=2)
    assert not journal.path.exists()


def test_the_story_is_right_after_a_crash_at_every_event(journal: Journal) -> None:
    for written, expected in SEQUENCE:
        write(journal, written)
        assert summary(journal.story()) == expected, written


def test_an_open_promotion_names_the_release_it_replaces(journal: Journal) -> None:
    for written, _ in SEQUENCE[:15]:
        write(journal, written)
    story = journal.story()
    assert story.open is not None
    assert (story.open.release, story.open.previous, story.open.fresh) == (1, 3, False)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_a_file_cut_at_any_byte_has_all_complete_events(
    data: st.DataObject, whole: bytes, journal: Journal
) -> None:
    end = data.draw(st.integers(0, len(whole)), label="cut at")
    journal.path.write_bytes(whole[:end])
    complete = whole[:end].count(b"\n")
    expected = SEQUENCE[complete - 1][1] if complete else summary(Story())
    assert len(journal.entries()) == complete
    assert summary(journal.story()) == expected


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), torn=st.binary(max_size=40).filter(lambda b: b"\n" not in b))
def test_a_torn_tail_is_cut_before_the_next_event(
    data: st.DataObject, torn: bytes, whole: bytes, journal: Journal
) -> None:
    """Cut anywhere, or followed by what a power cut leaves there (zeros, anything)."""
    end = data.draw(st.integers(0, len(whole)), label="cut at")
    journal.path.write_bytes(whole[:end] + torn)
    before = journal.entries()
    assert len(before) == whole[:end].count(b"\n")
    journal.append("prepare", 99)
    assert journal.entries()[:-1] == before
    assert journal.entries()[-1].release == 99


GARBAGE = st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode)).filter(
    lambda b: b"\n" not in b
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(line=st.integers(1, len(SEQUENCE)), garbage=GARBAGE)
@example(line=3, garbage=b"")
@example(line=1, garbage=b"\0" * 512)
@example(line=2, garbage=b'{"at":"\xff","event":"done","release":1}')
@example(line=2, garbage=b'{"at":"","event":"renamed","release":1}')
@example(line=2, garbage=b'{"at":"","event":"done","release":1,"later":1}')
def test_garbage_within_the_file_is_reported_and_kept(
    line: int, garbage: bytes, whole: bytes, journal: Journal
) -> None:
    lines = whole.split(b"\n")
    lines[line - 1] = garbage
    damaged = b"\n".join(lines)
    journal.path.write_bytes(damaged)
    copy = journal.path.with_name("journal.corrupt")
    copy.unlink(missing_ok=True)
    with pytest.raises(StateError) as e:
        journal.story()
    assert f"line {line} " in e.value.what
    assert e.value.where == str(journal.path)
    assert copy.name in e.value.hint
    assert copy.read_bytes() == journal.path.read_bytes() == damaged
    assert copy.stat().st_mode & 0o777 == 0o600


@settings(max_examples=70)
@given(events=st.lists(st.tuples(EVENTS, st.integers(1, 9), st.booleans()), max_size=20))
@pytest.mark.slow
def test_any_sequence_has_one_live_release_and_at_most_one_open_promotion(
    events: list[tuple[str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    entries = [{"at": "", "event": e, "release": n, "migrated": m} for e, n, m in events]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    story = Journal(path).story()
    assert story.live == next((n for e, n, _ in reversed(events) if e == "live"), 0)
    assert story.last == max((n for _, n, _ in events), default=0)
    assert set(story.migrated) == {n for _, n, m in events if m}
    outer = [(e, n) for e, n, _ in events if e not in ("step", "live")]
    open_ = outer[-1] if outer and outer[-1][0] in ("prepare", "promote") else None
    assert (story.open and (story.open.event, story.open.release)) == open_


# ---- what the machine does to it ----------------------------------------------------------------------------

APPENDER = """
import sys
from pathlib import Path
from pushrod.state.journal import Journal
journal = Journal(Path(sys.argv[1]))
number = journal.story().last
while True:
    number += 1
    journal.append("prepare", number, commit="c" * 2000)
    print(number)
"""


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(journal: Journal) -> None:
    acknowledged = 0
    for _ in range(4):
        with beside(APPENDER, journal.path) as writer:
            for _ in range(15):
                acknowledged = int(writer.line())
            writer.signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.end()[1].split())])
        numbers = [e.release for e in journal.entries()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) - acknowledged in (0, 1)


# Writes events until there is no space for another; then prints how many there was space for.
FILLER = """
import errno, resource, sys
from pathlib import Path
from pushrod.state.journal import Journal
if sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
journal, number = Journal(Path("journal")), 0
try:
    while True:
        journal.append("prepare", number + 1, commit="c" * 40, why="w" * 1000)
        number += 1
except OSError as e:
    assert e.errno in (errno.ENOSPC, errno.EFBIG), e
print(number, journal.story().last, len(journal.path.read_bytes().rpartition(b"\\n")[2]))
"""


@pytest.mark.slow
def test_after_a_failed_write_the_journal_is_readable_and_writable(journal: Journal) -> None:
    done = processes.run([sys.executable, "-c", FILLER, "9500"], cwd=journal.path.parent)
    acknowledged, last, torn = map(int, done.stdout.split())
    assert acknowledged == last > 5, done.stderr
    assert torn == 0
    journal.append("failed", last + 1, why="disk full")
    assert journal.story().last == last + 1
    assert journal.story().open is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
@pytest.mark.slow
def test_a_full_disk_leaves_the_journal_readable(journal: Journal) -> None:
    mount = 'mount -t tmpfs -o size=16k tmpfs "$1" && cd "$1" && shift && exec "$@"'
    done = processes.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", journal.path.parent, sys.executable, "-c", FILLER]
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no file system can be mounted here")
    acknowledged, last, _torn = map(int, done.stdout.split())
    assert acknowledged == last > 5, done.stderr


# ---- a new journal ------------------------------------------------------------------------------------------


def test_a_rebuilt_journal_has_the_live_release_and_reuses_no_number(journal: Journal) -> None:
    """Release 1 serves after a rollback; 3 is still kept, so the next must not be called 2 or 3."""
    journal.path.write_bytes(b"garbage\n")
    journal.restart(1, "a" * 40, last=3)
    assert summary(journal.story()) == (1, 3, "", False, ())
    assert [e.commit for e in journal.entries() if e.event == "live"] == ["a" * 40]
    kept = [p for p in journal.path.parent.iterdir() if p != journal.path]
    assert [p.read_bytes() for p in kept] == [b"garbage\n"]


def test_a_rebuilt_journal_of_a_never_live_app_has_no_live_release(journal: Journal) -> None:
    journal.restart(0, "", last=2)
    assert summary(journal.story()) == (0, 2, "", False, ())


RESTARTER = """
import sys
from pathlib import Path
from pushrod.state.journal import Journal
while True:
    Journal(Path(sys.argv[1])).restart(4, "a" * 40, last=5)
    print("again")
"""


@pytest.mark.slow
def test_rebuilding_the_journal_is_atomic(journal: Journal) -> None:
    journal.restart(4, "a" * 40, last=5)
    for _ in range(3):
        with beside(RESTARTER, journal.path) as program:
            program.line()
            seen = {summary(journal.story()) for _ in range(200)}
            program.signal(signal.SIGKILL)
            program.end()
        assert seen | {summary(journal.story())} == {(4, 5, "", False, ())}


def test_only_old_events_are_removed(journal: Journal) -> None:
    for written, _ in SEQUENCE:
        write(journal, written)
    whole, story = journal.entries(), journal.story()
    journal.shorten(0)
    assert journal.entries() == whole
    journal.shorten(3)
    assert [e.release for e in journal.entries()] == [e.release for e in whole if e.release >= 3]
    again = Journal(journal.path).story()
    assert (again.last, again.open, again.left) == (story.last, story.open, story.left)


def test_events_of_another_process_are_read(journal: Journal) -> None:
    journal.append("prepare", 1)
    assert journal.story().last == 1
    Journal(journal.path).append("failed", 1)
    Journal(journal.path).append("prepare", 2)
    assert (journal.story().last, len(journal.entries())) == (2, 3)
    Journal(journal.path).shorten(2)
    assert [e.release for e in journal.entries()] == [2]


def test_the_file_is_read_again_only_if_it_was_changed_elsewhere(journal: Journal) -> None:
    for written, _ in SEQUENCE:
        write(journal, written)
    assert summary(journal.story()) == SEQUENCE[-1][1]
    with reads.counted() as paths:
        journal.append("prepare", 5)
        assert (journal.story().last, journal.entries()[-1].release) == (5, 5)
        assert paths == []
        Journal(journal.path).append("failed", 5)
        assert journal.story().open is None
        assert str(journal.path) in paths
    assert journal.entries() == Journal(journal.path).entries()

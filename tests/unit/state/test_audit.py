"""The audit log: its chain, the effects of crashes and manipulation, and resistance to floods."""

import contextlib
import fcntl
import json
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pushrod.core.errors import BusyError
from pushrod.state import audit
from pushrod.state.apps import Root
from pushrod.state.audit import Audit, Filter, Who
from pushrod.system import waits

ALICE = Who("alice", "SHA256:abc", "192.0.2.1")
HERE = Who("root")


@pytest.fixture
def log(root: Root) -> Audit:
    root.create()
    return Audit(root)


def lines(log: Audit) -> list[bytes]:
    return log.log.read_bytes().splitlines(keepends=True)


def filled(log: Audit, count: int = 4) -> Audit:
    for number in range(count):
        log.end(log.begin(ALICE, "push", "shop", f"git-receive-pack {number}"), "done", detail="release 1")
    return log


def test_what_began_and_how_it_ended_is_one_act(log: Audit) -> None:
    first = log.begin(ALICE, "rollback", "shop", "rollback 3")
    second = log.begin(HERE, "host keys add", words="bob.pub")
    log.end(second, "done", detail="bob SHA256:def for every app")
    log.end(first, "failed", 12, detail="no release 3")
    log.note(ALICE, "status", "done", app="shop")
    third = log.begin(ALICE, "exec", "shop", "exec web sh")
    found = log.last(10, Filter())
    assert [(a.number, a.by, a.what, a.result, a.code) for a in found] == [
        (first, "alice", "rollback", "failed", 12),
        (second, "root", "host keys add", "done", 0),
        (5, "alice", "status", "done", 0),
        (third, "alice", "exec", "unfinished", 0),
    ]
    assert (found[0].key, found[0].address, found[0].app) == ("SHA256:abc", "192.0.2.1", "shop")
    assert found[0].seconds >= 0
    assert [a.what for a in log.last(1, Filter(by="SHA256:abc"))] == ["exec"]
    assert [a.what for a in log.last(9, Filter(apps=("shop",), result="done"))] == ["status"]
    assert [a.what for a in log.last(9, Filter(what="host"))] == ["host keys add"]
    assert log.last(9, Filter(since="9999")) == []


def test_a_log_that_nobody_touched_is_whole(log: Audit) -> None:
    assert log.verify() == audit.Verdict(0, 0, 0, ())
    assert filled(log).verify() == audit.Verdict(1, 8, 0, ())
    assert log.directory.stat().st_mode & 0o777 == 0o700
    assert log.log.stat().st_mode & 0o777 == 0o600


def changed(raw: list[bytes]) -> list[bytes]:
    raw[3] = raw[3].replace(b'"release 1"', b'"release 2"')
    return raw


def rehashed(raw: list[bytes]) -> list[bytes]:
    """A line changed by somebody who can compute its hash."""
    line = msgspec.structs.replace(msgspec.json.decode(raw[3], type=audit.Line), detail="release 2")
    line = msgspec.structs.replace(line, hash=audit._hash(line))
    raw[3] = msgspec.json.encode(line) + b"\n"
    return raw


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (changed, "line 4 was changed"),
        (rehashed, "line 5 does not continue line 4"),
        (lambda raw: raw[:3] + raw[4:], "line 5 comes after line 3"),
        (lambda raw: [*raw[:3], raw[4], raw[3], *raw[5:]], "line 5 comes after line 3"),
        (lambda raw: [*raw[:3], b"rubbish\n", *raw[3:]], "after line 3: an unreadable line"),
        (lambda raw: [*raw[:3], raw[3].replace(b'":', b'" :', 1), *raw[4:]], "line 4 was changed"),
        (lambda raw: [*raw, raw[-1]], "line 8 comes after line 8"),
    ],
)
def test_what_was_changed_taken_out_or_moved_is_found(log: Audit, harm: object, says: str) -> None:
    filled(log)
    log.log.write_bytes(b"".join(harm(lines(log))))  # type: ignore[operator]
    assert says in log.verify().problems[0]
    assert log.last(10, Filter())  # it is still readable


def test_the_systems_journal_shows_what_the_chain_cannot(log: Audit) -> None:
    """Lines cut off at the end, and a log rewritten with correct hashes."""
    filled(log)
    heads = [
        (line.chain, line.n, line.hash)
        for line in (msgspec.json.decode(raw, type=audit.Line) for raw in lines(log))
    ]
    assert log.verify(heads) == audit.Verdict(1, 8, 8, ())
    log.log.write_bytes(b"".join(lines(log)[:6]))
    assert log.verify().problems == ()
    assert log.verify(heads).problems[0] == "the system's journal has line 7, and the log ends with line 6"
    log.end(log.begin(ALICE, "push", "shop"), "done")
    assert log.verify().problems == ()
    assert log.verify(heads).problems[0] == "line 7 differs from the system's journal"
    log.log.unlink()
    assert "has heads of another log" in filled(log).verify(heads).problems[0]


def heads_of(log: Audit) -> list[tuple[str, int, str]]:
    found = (msgspec.json.decode(raw, type=audit.Line) for raw in log._raw())
    return [(line.chain, line.n, line.hash) for line in found]


def test_lines_cut_off_at_the_beginning_are_missed(log: Audit) -> None:
    """Its owner may remove lines only up to the start of a file, and missing lines are not reported as good."""
    heads = heads_of(filled(log))
    log.log.write_bytes(b"".join(lines(log)[5:]))
    (problem,) = log.verify(heads).problems
    assert problem == "line 6 is not the beginning of a file: lines before it were removed"
    assert (log.verify(heads).heads, log.verify(heads).gone) == (3, 5)


def test_a_log_of_an_older_pushrod_does_not_say_where_its_files_begin(log: Audit) -> None:
    filled(log)
    older, before = [], "0" * 64
    for raw in lines(log):
        line = msgspec.json.decode(raw, type=audit.Line)
        line = msgspec.structs.replace(line, chain="00c0ffee0000", opens=False, before=before)
        before = audit._hash(line)
        older.append(msgspec.json.encode(msgspec.structs.replace(line, hash=before)) + b"\n")
    log.log.write_bytes(b"".join(older[5:]))
    assert log.verify() == audit.Verdict(6, 8, 0, ())


def test_a_log_that_is_gone_is_no_good_log(log: Audit) -> None:
    heads = heads_of(filled(log))
    log.log.unlink()
    assert log.verify().last == 0
    assert "has heads of another log" in log.verify(heads).problems[0]


def test_what_comes_after_a_damaged_end_is_of_the_same_log(log: Audit) -> None:
    """Its heads in the system's journal are compared like all others."""
    heads = heads_of(filled(log))
    log.log.write_bytes(log.log.read_bytes() + b"rubbish\n")
    log.note(HERE, "x", "done")
    assert msgspec.json.decode(lines(log)[-1], type=audit.Line).chain == heads[0][0]


def test_a_full_disk_leaves_the_log_whole(log: Audit, small_disk: Path) -> None:
    """A call with a key is refused; once there is space, the chain continues where it was."""
    there = Root(small_disk)
    full = filled(Audit(there))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(bytes(512)):
            pass
    for tell in (full.begin, lambda who, what: full.note(who, what, "refused")):
        with pytest.raises(OSError, match="No space left"):
            for _ in range(10):
                tell(ALICE, "x" * 4000)
    assert full.verify().problems == ()
    last = full.verify().last
    filler.unlink()
    assert full.begin(ALICE, "push") == last + 1
    assert full.verify() == audit.Verdict(1, last + 1, 0, ())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    place = tmp_path / "small"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "pushrod-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("a disk of its own needs root (mount -t tmpfs)")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_who_waits_for_the_log_does_so_for_a_time(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(log)
    monkeypatch.setattr(audit, "_PATIENCE", 0.1)
    with (log.directory / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="still busy after"):
            log.begin(ALICE, "push", "shop")


def _interrupted(path: Path) -> None:
    log = Audit(Root(path))
    while True:
        log.end(log.begin(ALICE, "push", "shop"), "done")


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_the_chain_whole(log: Audit) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(8):
        writer = context.Process(target=_interrupted, args=(log.root.path,))
        writer.start()
        most = 4000 * round_
        assert waits.wait_until(lambda most=most: log.log.exists() and log.log.stat().st_size > most, 20)  # type: ignore[misc]
        writer.kill()
        writer.join(20)
    log.note(HERE, "x", "done")
    assert log.verify().problems == ()


def test_a_line_that_a_crash_has_torn_was_told_to_nobody_and_is_cut_off(log: Audit) -> None:
    filled(log)
    whole = log.log.read_bytes()
    for torn in (whole[:-1], whole[:-50], whole + b'{"n":9'):
        log.log.write_bytes(torn)
        log.note(HERE, "x", "done")
        found = log.verify()
        assert (found.problems, found.last) == ((), torn.count(b"\n") + 1)
    log.log.write_bytes(b'{"n":1')
    log.note(HERE, "x", "done")
    assert log.verify() == audit.Verdict(1, 1, 0, ())


def test_a_damaged_end_stops_nobody_and_is_found(log: Audit) -> None:
    filled(log)
    log.log.write_bytes(log.log.read_bytes() + b"\0\0\0\n")
    number = log.begin(ALICE, "push", "shop")
    assert number == 10
    assert any("unreadable" in p for p in log.verify().problems)


def _write(path: Path, count: int) -> None:
    log = Audit(Root(path))
    for _ in range(count):
        log.end(log.begin(ALICE, "push", "shop"), "done")


@pytest.mark.slow
def test_writers_at_once_make_one_chain(log: Audit) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(log.root.path, 10)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert log.verify() == audit.Verdict(1, 80, 0, ())
    assert {a.result for a in log.last(100, Filter())} == {"done"}


@pytest.mark.slow
def test_a_flood_of_what_is_refused_buries_nothing_and_fills_nothing(log: Audit) -> None:
    act = log.begin(ALICE, "push", "shop")
    log.end(act, "done")
    for number in range(1000):
        log.note(ALICE, "status", "refused", 12, words=f"{number} " + "x" * 100_000)
    log.end(log.begin(ALICE, "push", "shop"), "done")
    log.note(Who("bob", "SHA256:bcd"), "status", "refused", 12)
    assert log.log.stat().st_size < audit.MOST["refused"] * 1000
    found = log.last(10_000, Filter())
    assert [a.what for a in found if a.result == "done" and a.what == "push"] == ["push", "push"]
    assert len([a for a in found if a.result == "refused" and a.by == "alice"]) == audit.MOST["refused"]
    assert found[-1].by == "bob"
    assert [a.detail for a in found if a.what == "refused"] == ["more than 100 today"]
    assert log.verify().problems == ()


def test_the_next_day_tells_what_was_not_listed(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(audit.MOST["refused"] + 7):
        log.note(ALICE, "status", "refused", 12)
    monkeypatch.setattr(audit, "now", lambda: "2999-01-01T00:00:00.000+00:00")
    log.note(ALICE, "status", "refused", 12)
    told = [a.detail for a in log.last(10, Filter(what="refused"))]
    assert told[-1].startswith("7 more on ")
    assert log.last(1, Filter())[0].what == "status"


def test_what_a_key_does_is_never_left_out(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.MOST, "act", 3)
    for _ in range(3):
        log.begin(ALICE, "push", "shop")
    with pytest.raises(BusyError, match="the key alice has made 3 changes today"):
        log.begin(ALICE, "push", "shop")
    log.begin(Who("bob", "SHA256:bcd"), "push", "shop")
    for _ in range(5):
        log.begin(HERE, "down", "shop")  # a user on the machine may


def test_an_end_is_told_once(log: Audit) -> None:
    act = log.begin(ALICE, "push", "shop")
    log.end(act, "failed", 8, detail="web-1 ended at boot")
    log.end(act, "done")
    assert [(a.result, a.detail) for a in log.last(5, Filter())] == [("failed", "web-1 ended at boot")]


def test_an_old_file_is_left_and_the_chain_goes_on(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SEGMENT", 2000)
    filled(log, 12)
    files = sorted(p.name for p in log.directory.glob("log*"))
    assert len(files) > 3
    assert log.verify() == audit.Verdict(1, 24, 0, ())
    assert len(log.last(100, Filter())) == 12
    (log.directory / files[1]).unlink()  # its owner may delete the oldest
    found = log.verify()
    assert (found.problems, found.first > 1) == ((), True)


def test_no_control_character_and_no_half_of_a_pair_is_written_raw(log: Audit) -> None:
    log.note(ALICE, "status", "refused", words="a\x1b[2J\n\udcff\0b")
    raw = log.log.read_bytes()
    assert raw.count(b"\n") == 1
    assert b"\x1b" not in raw
    assert json.loads(raw)["words"] == "a\x1b[2J\n?\0b"


def test_what_root_writes_belongs_to_whom_the_root_belongs(log: Audit) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(log.root.path, 4242, 4242)
    log.note(HERE, "host init", "done")
    assert {p.stat().st_uid for p in (log.directory, *log.directory.iterdir())} == {4242}

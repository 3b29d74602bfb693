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


def test_the_begin_and_end_of_a_call_are_one_entry(log: Audit) -> None:
    first = log.begin(ALICE, "rollback", "shop", "rollback 3")
    second = log.begin(HERE, "host keys add", words="bob.pub")
    log.end(second, "done", detail="bob SHA256:def for every app")
    log.end(first, "failed", 12, detail="no release 3")
    log.note(ALICE, "status", "done", app="shop")
    third = log.begin(ALICE, "exec", "shop", "exec web sh")
    entries = log.last(10, Filter())
    assert [(a.number, a.by, a.what, a.result, a.code) for a in entries] == [
        (first, "alice", "rollback", "failed", 12),
        (second, "root", "host keys add", "done", 0),
        (5, "alice", "status", "done", 0),
        (third, "alice", "exec", "unfinished", 0),
    ]
    assert (entries[0].key, entries[0].address, entries[0].app) == ("SHA256:abc", "192.0.2.1", "shop")
    assert entries[0].seconds >= 0
    assert [a.what for a in log.last(1, Filter(by="SHA256:abc"))] == ["exec"]
    assert [a.what for a in log.last(9, Filter(apps=("shop",), result="done"))] == ["status"]
    assert [a.what for a in log.last(9, Filter(what="host"))] == ["host keys add"]
    assert log.last(9, Filter(since="9999")) == []


def test_an_untouched_log_verifies(log: Audit) -> None:
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
    ("harm", "message"),
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
def test_changed_removed_and_moved_lines_are_detected(log: Audit, harm: object, message: str) -> None:
    filled(log)
    log.log.write_bytes(b"".join(harm(lines(log))))  # type: ignore[operator]
    assert message in log.verify().problems[0]
    assert log.last(10, Filter())  # it is still readable


def test_the_system_journal_reveals_truncation_and_rewriting(log: Audit) -> None:
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
    entries = (msgspec.json.decode(raw, type=audit.Line) for raw in log._raw())
    return [(line.chain, line.n, line.hash) for line in entries]


def test_lines_removed_at_the_beginning_are_detected(log: Audit) -> None:
    """Its owner may remove lines only up to the start of a file, and missing lines are not reported as good."""
    heads = heads_of(filled(log))
    log.log.write_bytes(b"".join(lines(log)[5:]))
    (problem,) = log.verify(heads).problems
    assert problem == "line 6 is not the beginning of a file: lines before it were removed"
    assert (log.verify(heads).heads, log.verify(heads).gone) == (3, 5)


def test_a_log_of_an_older_version_verifies_without_file_starts(log: Audit) -> None:
    filled(log)
    older, before = [], "0" * 64
    for raw in lines(log):
        line = msgspec.json.decode(raw, type=audit.Line)
        line = msgspec.structs.replace(line, chain="00c0ffee0000", opens=False, before=before)
        before = audit._hash(line)
        older.append(msgspec.json.encode(msgspec.structs.replace(line, hash=before)) + b"\n")
    log.log.write_bytes(b"".join(older[5:]))
    assert log.verify() == audit.Verdict(6, 8, 0, ())


def test_a_missing_log_does_not_verify(log: Audit) -> None:
    heads = heads_of(filled(log))
    log.log.unlink()
    assert log.verify().last == 0
    assert "has heads of another log" in log.verify(heads).problems[0]


def test_lines_after_a_damaged_end_belong_to_the_same_log(log: Audit) -> None:
    """Its heads in the system's journal are compared like all others."""
    heads = heads_of(filled(log))
    log.log.write_bytes(log.log.read_bytes() + b"rubbish\n")
    log.note(HERE, "x", "done")
    assert msgspec.json.decode(lines(log)[-1], type=audit.Line).chain == heads[0][0]


def test_a_full_disk_keeps_the_log_intact(log: Audit, small_disk: Path) -> None:
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


@pytest.mark.slow
def test_waiting_for_the_log_has_a_time_limit(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_killing_a_writer_keeps_the_chain_intact(log: Audit) -> None:
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


def test_a_torn_last_line_is_cut_off(log: Audit) -> None:
    filled(log)
    whole = log.log.read_bytes()
    for torn in (whole[:-1], whole[:-50], whole + b'{"n":9'):
        log.log.write_bytes(torn)
        log.note(HERE, "x", "done")
        verified = log.verify()
        assert (verified.problems, verified.last) == ((), torn.count(b"\n") + 1)
    log.log.write_bytes(b'{"n":1')
    log.note(HERE, "x", "done")
    assert log.verify() == audit.Verdict(1, 1, 0, ())


def test_a_damaged_end_does_not_block_writing_and_is_detected(log: Audit) -> None:
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
def test_a_flood_of_refused_calls_hides_nothing_and_is_bounded(log: Audit) -> None:
    act = log.begin(ALICE, "push", "shop")
    log.end(act, "done")
    for number in range(1000):
        log.note(ALICE, "status", "refused", 12, words=f"{number} " + "x" * 100_000)
    log.end(log.begin(ALICE, "push", "shop"), "done")
    log.note(Who("bob", "SHA256:bcd"), "status", "refused", 12)
    assert log.log.stat().st_size < audit.MOST["refused"] * 1000
    entries = log.last(10_000, Filter())
    assert [a.what for a in entries if a.result == "done" and a.what == "push"] == ["push", "push"]
    assert len([a for a in entries if a.result == "refused" and a.by == "alice"]) == audit.MOST["refused"]
    assert entries[-1].by == "bob"
    assert [a.detail for a in entries if a.what == "refused"] == ["more than 100 today"]
    assert log.verify().problems == ()


def test_the_next_day_records_the_number_of_omitted_entries(
    log: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(audit.MOST["refused"] + 7):
        log.note(ALICE, "status", "refused", 12)
    monkeypatch.setattr(audit, "now", lambda: "2999-01-01T00:00:00.000+00:00")
    log.note(ALICE, "status", "refused", 12)
    details = [a.detail for a in log.last(10, Filter(what="refused"))]
    assert details[-1].startswith("7 more on ")
    assert log.last(1, Filter())[0].what == "status"


def test_changes_by_a_key_are_never_omitted_but_limited(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.MOST, "act", 3)
    for _ in range(3):
        log.begin(ALICE, "push", "shop")
    with pytest.raises(BusyError, match="the key alice has made 3 changes today"):
        log.begin(ALICE, "push", "shop")
    log.begin(Who("bob", "SHA256:bcd"), "push", "shop")
    for _ in range(5):
        log.begin(HERE, "down", "shop")  # a user on the machine may


def test_only_the_first_end_of_a_call_counts(log: Audit) -> None:
    act = log.begin(ALICE, "push", "shop")
    log.end(act, "failed", 8, detail="web-1 ended at boot")
    log.end(act, "done")
    assert [(a.result, a.detail) for a in log.last(5, Filter())] == [("failed", "web-1 ended at boot")]


def test_the_chain_continues_across_rotated_files(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SEGMENT", 2000)
    filled(log, 12)
    files = sorted(p.name for p in log.directory.glob("log*"))
    assert len(files) > 3
    assert log.verify() == audit.Verdict(1, 24, 0, ())
    assert len(log.last(100, Filter())) == 12
    (log.directory / files[1]).unlink()  # its owner may delete the oldest
    verified = log.verify()
    assert (verified.problems, verified.first > 1) == ((), True)


def test_control_characters_and_lone_surrogates_are_escaped(log: Audit) -> None:
    log.note(ALICE, "status", "refused", words="a\x1b[2J\n\udcff\0b")
    raw = log.log.read_bytes()
    assert raw.count(b"\n") == 1
    assert b"\x1b" not in raw
    assert json.loads(raw)["words"] == "a\x1b[2J\n?\0b"


def test_files_written_by_root_belong_to_the_owner_of_the_root(log: Audit) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to change the owner of a file")
    os.chown(log.root.path, 4242, 4242)
    log.note(HERE, "host init", "done")
    assert {p.stat().st_uid for p in (log.directory, *log.directory.iterdir())} == {4242}

"""Who did what, when, from where and with what result: an append-only log of a root, chained by hashes.

One line of JSON when an action begins and one when it ends, each fsynced, each with the SHA-256 of itself and of
the line before: a line that was changed, removed or moved is detected (`Audit.verify`). An account that can write
the file could rewrite all of it. On a Docker host each new head is therefore also sent to the system's journal,
which that account cannot change; `verify` compares the two.

Secrets appear by name only. Read-only actions and refusals of a key are listed up to a daily limit, so that a flood
of them neither fills the disk nor buries the rest. Changes are never left out: beyond their daily limit they are
refused.
"""

import contextlib
import datetime
import hashlib
import os
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pushrod.core.errors import BusyError
from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.state.apps import Root
from pushrod.system import files, locks, network

Result = Literal["done", "failed", "refused", "unfinished"]

SEGMENT = 16 << 20
"""Bytes of one file of the log before the next is started. Older files stay as `log.<number of their last line>`;
their owner may delete the oldest."""

MOST = {"act": 10_000, "look": 300, "refused": 100}
"""Lines per key and day, for each kind of action."""

IDENTIFIER = "pushrod-audit"
"""The identifier of the heads in the system's journal: journalctl --identifier=pushrod-audit."""

_PATIENCE = 60.0  # seconds to wait for the lock, which is held only while a line is written
_OPENS = 14  # length of the name of a chain whose files mark where they begin; an older pushrod's has 12
_LONGEST = 300  # characters of a text from outside
_TAIL = 64 << 10  # bytes at the end searched for the last line; a line is far shorter


class Who(Value, frozen=True, omit_defaults=True):
    """An actor: the name of a key or a local account, the key's fingerprint, and the address it connected from."""

    by: str
    key: str = ""
    address: str = ""


class Line(Value, frozen=True, omit_defaults=True):
    """A line of the log. In an end, `act` is the number of its beginning; `chain` names the log, `before` is the
    hash of the line before, `hash` this line's own, computed without it; `opens` marks the first line of a file."""

    n: int
    at: str
    chain: str
    before: str
    kind: Literal["begin", "end", "whole"]
    act: int = 0
    who: Who | None = None
    app: str = ""
    what: str = ""
    words: str = ""
    result: Result | None = None
    code: int = 0
    detail: str = ""
    opens: bool = False
    hash: str = ""


class Act(Value, frozen=True):
    """A listed action; `code` is the exit code, `seconds` how long it took."""

    number: int
    at: str
    by: str
    key: str
    address: str
    app: str
    what: str
    words: str
    result: Result
    code: int
    detail: str
    seconds: float


class Verdict(NamedTuple):
    """The result of `verify`: the first and last line present, how many heads of the system's journal agree, the
    problems, and how many heads belong to lines before the first."""

    first: int
    last: int
    heads: int
    problems: tuple[str, ...]
    gone: int = 0


class Audit:
    """The log of a root. Only the root's owner and root may write to it."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.directory = root.path / "audit"
        self.log = self.directory / "log"
        self._counts = self.directory / "counts.json"

    # ---- writing --------------------------------------------------------------------------------------------

    def begin(self, who: Who, what: str, app: str = "", words: str = "") -> int:
        """Record that an action begins; returns the number to pass to `end`.

        Raises BusyError if the key has reached its daily limit, OSError if the line cannot be written.
        """
        with self._locked():
            if who.key:
                self._count(who, "act")
            return self._append(kind="begin", who=who, what=what, app=app, words=_short(words))

    def end(self, act: int, result: Result, code: int = 0, app: str = "", detail: str = "") -> None:
        """Record how an action ended, unless that is recorded: a push's hook knows more than the process that
        started it."""
        with self._locked():
            if not self._ended(act):
                self._append(kind="end", act=act, result=result, code=code, app=app, detail=_short(detail))

    def note(
        self,
        who: Who,
        what: str,
        result: Result,
        code: int = 0,
        app: str = "",
        words: str = "",
        detail: str = "",
    ) -> None:
        """Record a completed action in one line: a refusal, or a read-only command."""
        with self._locked():
            kind = "refused" if result == "refused" else "look"
            if not who.key or self._count(who, kind):
                self._append(
                    kind="whole",
                    who=who,
                    what=what,
                    app=app,
                    words=_short(words),
                    result=result,
                    code=code,
                    detail=_short(detail),
                )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the log's lock. Its files belong to the root's owner, even if root creates them."""
        owner = self.root.path.stat()
        if not self.directory.exists():
            files.make_private(self.directory)
            files.chown(self.directory, (owner.st_uid, owner.st_gid))
        lock = self.directory / "lock"
        with locks.lock(lock, purpose="writing the audit log", timeout=_PATIENCE):
            files.chown(lock, (owner.st_uid, owner.st_gid))
            yield

    def _append(self, **fields: object) -> int:
        last = self._last()
        new = not self.log.exists()
        line = msgspec.convert({"at": now(), **fields, **last, "opens": new}, Line, str_keys=True)
        line = msgspec.structs.replace(line, hash=_hash(line))
        owner = self.root.path.stat()
        files.append(self.log, msgspec.json.encode(line).decode(), mode=0o600)
        if new:
            files.chown(self.log, (owner.st_uid, owner.st_gid))
        if self.root.hosted:
            network.log(IDENTIFIER, f"chain {line.chain} line {line.n} sha256 {line.hash}")
        if self.log.stat().st_size > SEGMENT:
            self.log.replace(self.log.with_name(f"log.{line.n:012d}"))
            files.sync_directory(self.directory)
        return line.n

    def _last(self) -> dict[str, object]:
        """The fields the next line continues from. A last line torn by a crash was never acknowledged, and is cut
        off."""
        for path in reversed(self._files()):
            with path.open("r+b") as f:
                size = f.seek(0, os.SEEK_END)
                f.seek(max(0, size - _TAIL))
                tail = f.read()
                whole, newline, torn = tail.rpartition(b"\n")
                if torn and newline:
                    f.truncate(size - len(torn))
                elif torn:
                    f.truncate(0)
            raw = whole.rpartition(b"\n")[2]
            if not raw:
                continue
            line = _decoded(raw)
            if (
                line is None
            ):  # damaged: the next line is chained to its raw bytes, and `verify` reports the place
                known = _last_of(whole)
                number = int(path.suffix[1:]) if path != self.log else known.n + 1 if known else 0
                chain = known.chain if known else ""
                return {"n": number + 1, "chain": chain, "before": hashlib.sha256(raw).hexdigest()}
            return {"n": line.n + 1, "chain": line.chain, "before": line.hash}
        return {"n": 1, "chain": secrets.token_hex(_OPENS // 2), "before": "0" * 64}

    def _ended(self, act: int) -> bool:
        if not self.log.exists():
            return False
        with self.log.open("rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - 4 * _TAIL))
            return any(
                line is not None and line.kind == "end" and line.act == act
                for line in map(_decoded, f.read().splitlines())
            )

    # ---- daily limits of a key ------------------------------------------------------------------------------

    def _count(self, who: Who, kind: str) -> bool:
        """Count one more line of a key today; returns whether to write it. Raises BusyError beyond the limit of
        actions."""
        day, counts = self._today()
        own = counts.setdefault(who.by, {})
        own[kind] = own.get(kind, 0) + 1
        self._write_counts(day, counts)
        if own[kind] <= MOST[kind]:
            return True
        if kind == "act":
            raise BusyError(
                f"the key {who.by} has made {MOST[kind]} changes today, which is the limit",
                hint="continue tomorrow, or ask the host's owner to do it",
            )
        if own[kind] == MOST[kind] + 1:
            self._append(
                kind="whole", who=Who(who.by, who.key), what=kind, detail=f"more than {MOST[kind]} today"
            )
        return False

    def _today(self) -> tuple[str, dict[str, dict[str, int]]]:
        """Today and its counts. At the change of day, writes one line per key and kind about what was not
        listed."""
        day = now()[:10]
        try:
            before, counts = msgspec.json.decode(
                self._counts.read_bytes(), type=tuple[str, dict[str, dict[str, int]]]
            )
        except (OSError, msgspec.DecodeError):
            return day, {}
        if before == day:
            return day, counts
        for name, own in counts.items():
            for kind, number in own.items():
                if number > MOST.get(kind, number):
                    left = f"{number - MOST[kind]} more on {before}, not listed"
                    self._append(kind="whole", who=Who(name), what=kind, detail=left)
        return day, {}

    def _write_counts(self, day: str, counts: Mapping[str, Mapping[str, int]]) -> None:
        temporary = self._counts.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode((day, counts)))
        owner = self.root.path.stat()
        files.chown(temporary, (owner.st_uid, owner.st_gid))
        temporary.replace(self._counts)

    # ---- reading --------------------------------------------------------------------------------------------

    def _files(self) -> list[Path]:
        """The files of the log, oldest first."""
        older = sorted(p for p in self.directory.glob("log.*") if p.suffix[1:].isdecimal())
        return [*older, *([self.log] if self.log.exists() else [])]

    def _raw(self) -> Iterator[bytes]:
        for path in self._files():
            with path.open("rb") as f:
                yield from (line[:-1] for line in f if line.endswith(b"\n"))

    def acts(self) -> Iterator[Act]:
        """All recorded actions, ordered by their ends, then unfinished ones. Unreadable lines are skipped; `verify`
        reports them."""
        begun: dict[int, Line] = {}
        for line in map(_decoded, self._raw()):
            if line is None:
                continue
            if line.kind == "begin":
                begun[line.n] = line
            elif line.kind == "whole":
                yield _act(line, line)
            elif line.act in begun:
                yield _act(begun.pop(line.act), line)
        for line in begun.values():
            yield _act(line, None)

    def last(self, count: int, which: "Filter") -> list[Act]:
        """The last `count` actions that match, oldest first."""
        acts = deque((act for act in self.acts() if which.fits(act)), maxlen=count)
        return sorted(acts, key=lambda act: act.number)

    def verify(self, heads: Iterable[tuple[str, int, str]] = ()) -> Verdict:
        """Check that every line is as it was written, in order, with none missing, and that it agrees with `heads`,
        the (chain, line, hash) entries of the system's journal."""
        problems: list[str] = []
        hashes: dict[tuple[str, int], str] = {}
        first = last = 0
        chain = before = ""
        for raw in self._raw():
            line = _decoded(raw)
            if line is None:
                problems.append(f"after line {last}: an unreadable line")
                before = hashlib.sha256(raw).hexdigest()
                continue
            if line.hash != _hash(line) or msgspec.json.encode(line) != raw:
                problems.append(f"line {line.n} was changed")
            if first == 0:
                first, chain = line.n, line.chain
                if line.n > 1 and not line.opens and len(line.chain) >= _OPENS:
                    problems.append(
                        f"line {line.n} is not the beginning of a file: lines before it were removed"
                    )
            elif line.n != last + 1:
                problems.append(f"line {line.n} comes after line {last}: lines were removed or moved")
            elif line.before != before:
                problems.append(f"line {line.n} does not continue line {last}: one of them was changed")
            hashes[line.chain, line.n] = line.hash
            last, before = line.n, line.hash
        agreed, gone, others = 0, 0, set()
        for name, number, head in heads:
            if name != chain:
                others.add(name)
            elif number > last:
                problems.append(f"the system's journal has line {number}, and the log ends with line {last}")
            elif number < first:
                gone += 1
            elif hashes.get((name, number)) != head:
                problems.append(f"line {number} differs from the system's journal")
            else:
                agreed += 1
        problems += [f"the system's journal has heads of another log, {name}" for name in sorted(others)]
        return Verdict(first, last, agreed, tuple(dict.fromkeys(problems)), gone)


class Filter(NamedTuple):
    """A filter for actions: apps, a key or account, a verb, a result, a start time; matches everything by
    default."""

    apps: tuple[str, ...] = ()
    by: str = ""
    what: str = ""
    result: str = ""
    since: str = ""

    def fits(self, act: Act) -> bool:
        """Whether an action matches."""
        return (
            (not self.apps or act.app in self.apps)
            and (not self.by or self.by in (act.by, act.key))
            and (not self.what or act.what == self.what or act.what.startswith(f"{self.what} "))
            and (not self.result or act.result == self.result)
            and act.at >= self.since
        )


def _last_of(raw: bytes) -> Line | None:
    """The last readable line in a block of lines."""
    return next((line for line in map(_decoded, reversed(raw.split(b"\n"))) if line is not None), None)


def _hash(line: Line) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(line, hash=""))).hexdigest()


def _decoded(raw: bytes) -> Line | None:
    try:
        return msgspec.json.decode(raw, type=Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _short(text: str) -> str:
    text = text.encode(errors="replace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _act(begin: Line, end: Line | None) -> Act:
    who = begin.who or Who("")
    took = 0.0
    if end is not None and end is not begin:
        times = [datetime.datetime.fromisoformat(line.at) for line in (begin, end)]
        took = round((times[1] - times[0]).total_seconds(), 3)
    return Act(
        number=begin.n,
        at=begin.at,
        by=who.by,
        key=who.key,
        address=who.address,
        app=begin.app or (end.app if end else ""),
        what=begin.what,
        words=begin.words,
        result=(end.result or "done") if end else "unfinished",
        code=end.code if end else 0,
        detail=end.detail if end else "",
        seconds=took,
    )

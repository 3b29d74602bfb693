"""Server-sent events: whole, one line of JSON each, and they end with the session."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from pushrod.state.apps import App
from pushrod.state.transcript import Transcript
from pushrod.web import streams
from pushrod.web.calls import Call
from pushrod.web.loglines import Filter
from pushrod.web.runs import Run, Runs
from tests.unit.web.conftest import Answers
from tests.unit.web.test_runs import ended

EVIL = "<script>\n\nevent: end\ndata: x\r\n\x1b[2J"


async def take(events: AsyncIterator[str], most: int = 50) -> list[tuple[str, object]]:
    """The events until the stream has nothing more to say at once, or ends."""
    received: list[tuple[str, object]] = []
    async for text in events:
        if not text or len(received) == most:
            break
        fields = dict(line.split(": ", 1) for line in text.strip().split("\n"))
        received.append((fields["event"], json.loads(fields["data"])))
    return received


def test_a_new_command_restarts_the_page_and_is_shown_from_its_beginning(app: App) -> None:
    async def run() -> None:
        events = streams.command(app, "")
        assert await take(events) == []
        shown = Transcript(app)
        shown.add("begin", EVIL, "prepare")
        received = await take(streams.command(app, "0-0"))
        assert [name for name, _ in received] == ["restart", "shown"]
        value = received[1][1]
        assert isinstance(value, dict)
        assert (value["step"], "\x1b" in value["text"], "\n" in value["text"]) == ("prepare", False, False)
        began, size = streams.position(app)
        assert await take(streams.command(app, f"{began}-{size}")) == []
        shown.add("end", "done", "prepare", 1.0)
        assert [n for n, _ in await take(streams.command(app, f"{began}-{size}"))] == ["shown"]

    asyncio.run(run())


def test_a_longer_command_in_the_same_inode_is_another_one(app: App) -> None:
    """A file system gives a new file the inode of the one that was removed just before."""
    path = app.directory / "told"
    path.write_text('{"at":"2026-01-01T00:00:00.000+00:00","kind":"begin","text":"a","step":"prepare"}\n')
    began, size = streams.position(app)
    with path.open("r+") as file:
        for step in ("prepare", "plan", "switch"):
            file.write(
                f'{{"at":"2026-01-01T00:00:09.000+00:00","kind":"begin","text":"b","step":"{step}"}}\n'
            )
    names = [name for name, _ in asyncio.run(take(streams.command(app, f"{began}-{size}")))]
    assert names == ["restart", "shown", "shown", "shown"]


@pytest.mark.parametrize("mark", ["x", "-", "1", "-1--1", "9" * 60, "1-2-3", "٣-٣"])
def test_a_forged_mark_begins_at_the_beginning(mark: str, app: App) -> None:
    Transcript(app).add("begin", "a", "prepare")
    names = [name for name, _ in asyncio.run(take(streams.command(app, mark)))]
    assert names == ["restart", "shown"]


def test_the_output_of_a_run_is_continued_and_ends() -> None:
    answers = Answers()
    answers.output = f"one\n{EVIL.splitlines()[0]}\nthree"
    run = ended(Runs(answers).start("shop", "ann", Call("t", ("restart",))))
    received = asyncio.run(take(streams.output(run, "1")))
    assert [name for name, _ in received] == ["line", "line", "end"]
    assert received[-1] == ("end", "done")
    assert len(asyncio.run(take(streams.output(run, "evil")))) == 4


def test_a_run_forgets_the_first_lines_of_very_many() -> None:
    run = Run("shop", "ann", ("restart",))
    for n in range(3000):
        run.add(str(n))
    assert (run.since(0)[0], run.since(2998), run.since(3000), run.since(9999)) == (
        "1000",
        ["2998", "2999"],
        [],
        [],
    )


def test_log_lines_are_filtered() -> None:
    async def lines() -> AsyncIterator[str]:
        yield json.dumps({"process": "backend-1", "line": f"ERROR {EVIL}"})
        yield json.dumps({"process": "backend-1", "line": "fine"})

    received = asyncio.run(take(streams.log(lines(), Filter(level="error"))))
    assert [name for name, _ in received] == ["line", "end"]
    assert received[0][1] == {
        "src": "backend-1",
        "level": "error",
        "text": "ERROR <script>\\n\\nevent: end\\ndata: x\\r\\n\\x1b[2J",
    }


def test_a_stream_ends_with_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_ALIVE", 0.03)
    monkeypatch.setattr(streams, "LONGEST", 3.0)
    stopped = []

    async def forever() -> AsyncIterator[str]:
        try:
            while True:
                yield ""
                await asyncio.sleep(0.01)
        finally:
            stopped.append(True)

    async def run() -> list[str]:
        valid = iter([True, False])
        return [text async for text in streams.alive(forever(), lambda: next(valid))]

    assert asyncio.run(run()) == ["retry: 2000\n\n", ": \n\n", streams.event("end", "logged out")]
    assert stopped == [True]


def test_a_stream_that_cannot_stay_ends_so_that_the_browser_opens_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "_ALIVE", 0.03)

    async def forever() -> AsyncIterator[str]:
        while True:
            yield streams.event("line", 1)
            await asyncio.sleep(0.01)

    async def run() -> list[str]:
        stays = iter([True, True, True, False])
        return [text async for text in streams.alive(forever(), lambda: True, lambda: next(stays))]

    first, *others = asyncio.run(run())
    assert first == "retry: 2000\n\n"
    assert {*others} <= {streams.event("line", 1), ": \n\n"}  # no `end`, after which a browser would not


def test_a_member_has_some_places() -> None:
    limit = streams.Limit(1)
    with limit.one("ann"):
        assert (limit.full("ann"), limit.full("eve")) == (True, False)
    assert not limit.full("ann")

"""The plugin, in the parts of supervisord that it needs."""

import os
import select
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor import events
from supervisor.poller import PollPoller

from pushrod.engines.embedded import supervisord_plugin


@pytest.fixture
def daemon() -> Iterator[Any]:
    waited_for: dict[int, Any] = {}
    before = signal.set_wakeup_fd(-1)
    options = SimpleNamespace(get_socket_map=lambda: waited_for, poller=PollPoller(None))
    yield SimpleNamespace(options=options, get_process_map=dict, waited_for=waited_for)
    signal.set_wakeup_fd(before)
    events.clear()
    for pipe in waited_for.values():
        os.close(pipe.reader)
        os.close(pipe.writer)


def woken(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_child_signals_and_state_changes_wake_the_daemon(daemon: Any) -> None:
    supervisord_plugin.install(daemon)
    ((fd, pipe),) = daemon.waited_for.items()
    assert pipe.readable() and not pipe.writable()
    assert not woken(fd)
    for happen in (
        lambda: events.notify(events.ProcessGroupAddedEvent("shop-r1")),
        lambda: events.notify(events.ProcessStateStoppedEvent(SimpleNamespace(pid=1), None)),
        _child_ends,
    ):
        happen()
        assert woken(fd)
        pipe.handle_read_event()
        assert not woken(fd)


def _child_ends() -> None:
    before = signal.signal(signal.SIGCHLD, lambda *_: None)  # as supervisord has one: Python wakes only then
    try:
        os.kill(os.getpid(), signal.SIGCHLD)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.slow
def test_a_full_pipe_does_not_block(daemon: Any) -> None:
    supervisord_plugin.install(daemon)
    (pipe,) = daemon.waited_for.values()
    for _ in range(70_000):  # a pipe has 65536 bytes: pipe(7)
        pipe.wake(None)
    assert woken(pipe.reader)


def test_a_reload_replaces_the_pipe(daemon: Any) -> None:
    supervisord_plugin.install(daemon)
    (old,) = daemon.waited_for.values()
    events.clear()
    supervisord_plugin.install(daemon)
    (new,) = daemon.waited_for.values()
    assert new is not old
    events.notify(events.ProcessGroupAddedEvent("shop-r1"))
    assert woken(new.reader)
    assert not woken(old.reader)
    os.close(old.reader)
    os.close(old.writer)


def test_a_descriptor_that_was_closed_is_not_polled(daemon: Any) -> None:
    """For example when a connection's number is reused for a pipe whose other end is closed."""
    supervisord_plugin.install(daemon)
    ((fd, pipe),) = daemon.waited_for.items()
    poller = daemon.options.poller
    reader, writer = os.pipe()
    os.close(reader)
    stdin = SimpleNamespace(readable=lambda: False, writable=lambda: False)
    daemon.get_process_map = lambda: {writer: stdin}
    for number in (fd, writer, 1000):
        poller.register_readable(number)
    poller.register_writable(1001)
    assert poller._poller.poll(0)  # what would spin
    assert pipe.readable()
    assert poller.readables == {fd}
    assert poller.writables == set()
    assert poller._poller.poll(0) == []
    os.close(writer)

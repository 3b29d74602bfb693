"""A plugin of supervisord that wakes its main loop as soon as something happens.

supervisord checks for ended children once a second, or when it gets output or a request, and restarts an ended one in
the next round: up to two seconds. This plugin adds a pipe to the descriptors it waits for, and writes to it when a
signal arrives (SIGCHLD above all), when a process changes state and when a group is added, so that a restart takes
milliseconds. It is loaded as an `[rpcinterface:...]`, supervisord's documented way to extend it, and offers no
methods. It runs as a copy (see `supervisor_files`), so it uses nothing of pushrod.

It also makes supervisord (4.3) drop closed descriptors. Otherwise it keeps polling the number of a closed connection;
when that number is reused for the pipe to a process's standard input, and the process has closed its end, poll
returns at once with an error that nobody handles, and supervisord uses a whole processor.
"""

import contextlib
import os
import signal
from typing import Any

from supervisor import events  # type: ignore[import-untyped, unused-ignore]


class _Pipe:
    """A descriptor for supervisord's poll, in the shape of its dispatchers."""

    def __init__(self, supervisord: Any) -> None:
        self.supervisord = supervisord
        self.reader, self.writer = os.pipe()
        for fd in (self.reader, self.writer):
            os.set_blocking(fd, False)

    def wake(self, _event: object) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
            os.write(self.writer, b".")

    def readable(self) -> bool:
        """Called before every poll, which makes it the place to drop closed descriptors."""
        self._drop_closed()
        return True

    def _drop_closed(self) -> None:
        poller = self.supervisord.options.poller
        current = {**self.supervisord.options.get_socket_map(), **self.supervisord.get_process_map()}
        for fd in [fd for fd in poller.readables if not self._is_read(current.get(fd))]:
            poller.unregister_readable(fd)
        for fd in [fd for fd in poller.writables if fd not in current]:
            poller.unregister_writable(fd)

    def _is_read(self, dispatcher: Any) -> bool:
        return dispatcher is self or (dispatcher is not None and dispatcher.readable())

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        os.read(self.reader, 4096)

    def handle_error(self) -> None:
        """Nothing to close: the next signal writes again."""


class _NoMethods:
    """The methods under the plugin's name for RPC clients: none."""


def install(supervisord: Any) -> _NoMethods:
    """Add the pipe to supervisord, which calls this at its start, and again after a reload (SIGHUP)."""
    waited_for: dict[int, object] = supervisord.options.get_socket_map()
    for fd in [fd for fd, dispatcher in waited_for.items() if isinstance(dispatcher, _Pipe)]:
        del waited_for[fd]  # a reload has closed the descriptor
    pipe = _Pipe(supervisord)
    waited_for[pipe.reader] = pipe
    signal.set_wakeup_fd(pipe.writer, warn_on_full_buffer=False)
    for kind in (events.ProcessStateEvent, events.ProcessGroupAddedEvent):
        events.subscribe(kind, pipe.wake)
    return _NoMethods()

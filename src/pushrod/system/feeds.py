"""Output of a program that runs without end, line by line, for an event loop."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence

from pushrod.core import lines
from pushrod.system.files import os_error


async def of(argv: Sequence[str], *, stdin: str = "") -> AsyncIterator[str]:
    """Each line of a program's standard output as it appears, until it ends. Its stderr is discarded.

    Its process group is killed when the reader stops. Raises HostError if it cannot be started.
    """
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *argv, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True, limit=lines.LONGEST
        )
    except OSError as e:
        raise os_error(e, argv[0]) from e
    assert child.stdin is not None and child.stdout is not None  # noqa: S101  both are pipes
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            child.stdin.write(stdin.encode())
            await child.stdin.drain()
        child.stdin.close()
        while True:
            try:
                raw = await child.stdout.readuntil()
            except asyncio.IncompleteReadError as e:
                if e.partial:
                    yield lines.decode(e.partial)
                return
            except asyncio.LimitOverrunError as e:
                yield f"{lines.decode(await child.stdout.readexactly(e.consumed))} {lines.CUT}"
                continue
            yield lines.decode(raw[:-1])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()

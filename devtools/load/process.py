"""The generator in its own process, so that neither side slows the other."""

import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from devtools.load.figures import Report
from devtools.load.shapes import RELEASE_HEADER, Protocol

_TOP = Path(__file__).resolve().parents[2]


class Load:
    """The generator as a process: entering the block waits until it sends, leaving it stops it and reads its
    report.

    `shapes` maps `keep`, `close`, `post`, `slow`, `upload`, `events` and `websocket` to their shares; all but the
    first two need their URL. `lasting` is the number of seconds for writing an upload and holding a WebSocket.
    `seconds` bounds the run even if the parent process dies. `tls` is the name, the port for the protocols `tls`
    and `h2`, and the file of trusted certificates.
    """

    def __init__(
        self,
        *urls: str,
        rate: float,
        shapes: Mapping[str, int] | None = None,
        post_url: str = "",
        post_body: str = "",
        slow_url: str = "",
        upload_url: str = "",
        events_url: str = "",
        websocket_url: str = "",
        lasting: float = 2.0,
        seconds: float = 120.0,
        timeout: float = 10.0,
        connections: int = 16,
        header: str = RELEASE_HEADER,
        distance: float = 0.0,
        protocols: Sequence[Protocol] = (),
        tls: tuple[str, int, Path] | None = None,
        at: str = "",
        forwarded: bool = False,
    ) -> None:
        self._argv = [sys.executable, "-m", "devtools.load", "--rate", str(rate), "--lasting", str(lasting)]
        self._argv += ["--seconds", str(seconds), "--timeout", str(timeout), "--header", header]
        self._argv += ["--connections", str(connections), "--distance", str(distance)]
        for url in urls:
            self._argv += ["--url", url]
        for name, share in (shapes or {"keep": 1, "close": 1}).items():
            self._argv += ["--shape", f"{name}={share}"]
        for protocol in protocols:
            self._argv += ["--protocol", protocol]
        if tls:
            self._argv += ["--tls-name", tls[0], "--tls-port", str(tls[1]), "--trust", str(tls[2])]
        self._argv += ["--forwarded"] if forwarded else []
        options = (
            ("--at", at),
            ("--post-url", post_url),
            ("--post-body", post_body),
            ("--slow-url", slow_url),
            ("--upload-url", upload_url),
            ("--events-url", events_url),
            ("--websocket-url", websocket_url),
        )
        for option, value in options:
            self._argv += [option, value] if value else []
        self._timeout = timeout + lasting
        self._report: Report | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def report(self) -> Report:
        """The report; available once the load has stopped."""
        if self._report is None:
            raise RuntimeError("the load has not been stopped")
        return self._report

    def start(self) -> None:
        """Start the process and wait until its first request is being sent."""
        self._directory = tempfile.TemporaryDirectory(prefix="load-")
        self._json = Path(self._directory.name) / "report.json"
        argv = [*self._argv, "--json", str(self._json)]
        process = subprocess.Popen(argv, cwd=_TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._process = process
        assert process.stdout
        ready, _, _ = select.select([process.stdout], [], [], 10.0)
        if not ready or not process.stdout.readline().startswith("sending"):
            self._end()
            raise RuntimeError(f"the load did not start: {process.communicate()[1].strip()}")

    def stop(self) -> Report:
        """Stop sending, wait for open requests, and return the report."""
        process = self._process
        if process is None:
            raise RuntimeError("the load was not started")
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=self._timeout + 20.0)
            if not self._json.exists():
                raise RuntimeError(f"the load left no report: {errors.strip()}")
            self._report = Report.load(self._json.read_text())
        finally:
            self._end()
        return self._report

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._end()

"""The volumes of a store that pushrod cannot query, on Docker: backed up as files.

`docker cp` reads and writes them, so the image needs no program for that; emptying them before a restore needs its
`find`. While they are copied the store is frozen (`docker pause`), is stopped, or keeps running (`live`).
"""

import contextlib
import io
import posixpath
import sys
import tarfile
from collections.abc import Iterator
from typing import Any

from pushrod.adapters import docker
from pushrod.adapters.dumps import Rows
from pushrod.core.errors import HostError, PushrodError, StoreError
from pushrod.system import processes
from pushrod.system.streams import Sink, Source

_STILL = 600.0  # seconds for a store to stop or start
_HOLD = """
import subprocess, sys
begin, end, name = sys.argv[1:]
try:
    subprocess.run(["docker", begin, name])
    sys.stdin.read()
finally:
    subprocess.run(["docker", end, name])
"""
"""Prints the container's name once it is paused or stopped, and starts it again at the end of its input."""

_LONG = 6 * 3600.0  # seconds for all of them


class Volumes:
    """What a store's container may write outside its own layer, as one tar archive with the paths of the container.

    `mode` is `freeze`, `stop` or `live`.
    """

    suffix = "tar"
    logged = None

    def __init__(self, store: str, container: str, mode: str) -> None:
        self.store = store
        self._container = container
        self._mode = mode

    def version(self) -> str:
        """The beginning of the image's ID."""
        return self._inspected().image.removeprefix("sha256:")[:12]

    def save(self, sink: Sink) -> Rows:
        """Write them; returns the number of files. Raises StoreError if they change meanwhile: by a store that keeps
        running, or by another container with the same volume."""
        places = docker.writable(self._container)
        with self._still(), tarfile.open(fileobj=_Out(sink), mode="w|", format=tarfile.PAX_FORMAT) as out:
            count = sum(self._copy(place, out) for place in places)
        return {"files": count}

    def check(self, source: Source) -> None:
        """Read all of it. Raises StoreError if it is damaged or cut off."""
        self._count(source)

    def rehearse(self, source: Source) -> Rows:
        """Count its files; only the store itself could check more."""
        return self._count(source)

    def restore(self, source: Source, rows: Rows) -> str:
        """Stop the store, replace its files, and start it again. Raises StoreError if they are incomplete then."""
        image = self._inspected().image
        docker.docker("stop", self._container, timeout=_LONG)
        try:
            docker.empty_volumes(self._container, docker.writable(self._container), image)
            argv = ["docker", "cp", "-", f"{self._container}:/"]
            done = processes.feed(argv, source, env=docker.environment(), timeout=_LONG)
            if done.status != 0:
                raise docker.failed(done.stderr, f"container {self._container}")
        except PushrodError as e:
            raise StoreError(
                f"its files could not be replaced, and may be incomplete now: {e.what}",
                where=e.where,
                hint="fix the cause, and restore again; the newest of `pushrod db backups` has what was there",
                log=e.log,
            ) from e
        finally:
            docker.docker("start", self._container)
        return "the backup that was just taken"

    # ---- steps ----------------------------------------------------------------------------------------------

    def _inspected(self) -> docker.Container:
        if not (containers := docker.inspect([self._container])):
            raise StoreError("it has no container", where=f"store {self.store}", hint="deploy it first")
        return containers[0]

    @contextlib.contextmanager
    def _still(self) -> Iterator[None]:
        """Hold the store still by a process of its own, which resumes the store even if this one is killed."""
        if self._mode == "live" or not self._inspected().running:
            yield
            return
        begin, end = ("pause", "unpause") if self._mode == "freeze" else ("stop", "start")
        argv = [sys.executable, "-I", "-S", "-c", _HOLD, begin, end, self._container]
        with processes.beside(argv, env=docker.environment(), stdin="", timeout=_STILL) as answer:
            if answer != self._container:
                raise docker.failed(answer, f"docker {begin}")
            yield

    def _copy(self, place: str, out: tarfile.TarFile) -> int:
        """Add what is at a path of the container; returns the number of files."""
        argv = ["docker", "cp", f"{self._container}:{place}", "-"]
        above, count = posixpath.dirname(place).strip("/"), 0
        try:
            with (
                processes.output_of(argv, env=docker.environment(), timeout=_LONG) as stream,
                tarfile.open(fileobj=stream, mode="r|") as tar,
            ):
                for member in tar:
                    member.name = posixpath.join(above, member.name)
                    if member.islnk():
                        member.linkname = posixpath.join(above, member.linkname)
                    member.pax_headers = {
                        name: value for name, value in member.pax_headers.items() if "path" not in name
                    }
                    out.addfile(member, tar.extractfile(member) if member.isreg() else None)
                    count += member.isreg()
                    _forget(tar, out)
        except (tarfile.TarError, HostError, EOFError) as e:
            raise StoreError(
                f"{place} could not be copied: {e}",
                where=f"container {self._container}",
                hint="if it changes meanwhile: `x-pushrod: {backups: {volumes: stop}}`, or `freeze`",
            ) from e
        return count

    def _count(self, source: Source) -> Rows:
        try:
            with tarfile.open(fileobj=_In(source), mode="r|") as tar:
                count = 0
                for member in tar:
                    count += member.isreg()
                    _forget(tar)
                return {"files": count}
        except (tarfile.TarError, EOFError, ValueError) as e:
            raise StoreError(f"the archive is damaged: {e}", where=f"store {self.store}") from e


def _forget(*archives: tarfile.TarFile) -> None:
    """Drop the members that `tarfile` remembers, of streams too: a container may write millions of files."""
    for archive in archives:
        archive.members.clear()  # type: ignore[attr-defined]


class _Out(io.RawIOBase):
    """A sink as tarfile writes to it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, block: Any, /) -> int:
        """Pass a block on."""
        self._sink.write(bytes(block))
        return len(block)


class _In(io.RawIOBase):
    """A source as tarfile reads from it: a short block is the end."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        """Exactly `size` bytes, or what is left of them."""
        data = b""
        while len(data) < size and (block := self._source.read(size - len(data))):
            data += block
        return data

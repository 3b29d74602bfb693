"""A small disk for a root, and a way to fill it."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from devtools.apps import Machine

ZEROS = bytes(30_000_000)  # small in Git, large in a checkout


@contextlib.contextmanager
def on_small_disk(machine: Machine) -> Iterator[Machine]:
    """The machine with its root on its own disk of 160 MB; skipped if that is impossible."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root (mount -t tmpfs)")
    machine.root.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "pushrod-test", str(machine.root)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no disk of its own: {done.stderr.strip()}")
    try:
        yield machine
    finally:
        (machine.root / "filler").unlink(missing_ok=True)
        problems = machine.close()
        subprocess.run(["umount", "--lazy", str(machine.root)], check=True)
        shutil.rmtree(machine.directory, ignore_errors=True)
    assert not problems, problems


def fill(machine: Machine, *, leaving: int = 0) -> Callable[[], None]:
    """Fill the disk except for so many bytes; returns a function that frees it."""
    filler = machine.root / "filler"
    with filler.open("wb", buffering=0) as f:
        while True:
            try:
                f.write(bytes(65536))
            except OSError:
                break
    if leaving:
        os.truncate(filler, max(0, filler.stat().st_size - leaving))
    return filler.unlink

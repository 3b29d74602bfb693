"""Counts how often this process opens a file to read it."""

import contextlib
import os
import sys
from collections.abc import Iterator

_counted: list[str] | None = None


def _opened(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counted is not None:
        path, _, flags = arguments
        if isinstance(path, (str, os.PathLike)) and isinstance(flags, int) and not flags & os.O_ACCMODE:
            _counted.append(os.fspath(path))


sys.addaudithook(_opened)


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """The paths of the files that are opened for reading in the block, each as often as it is opened."""
    global _counted
    paths: list[str] = []
    _counted = paths
    try:
        yield paths
    finally:
        _counted = None

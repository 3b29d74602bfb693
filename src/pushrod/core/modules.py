"""Modules that are loaded when they are first used.

Most commands need only a part of what the modules they import could do. A part that few need is imported so:

    if TYPE_CHECKING:
        from pushrod.adapters import https
    else:
        https = later("pushrod.adapters.https")

Type checkers and the layers' contracts see a usual import. Annotations that name it are quoted.
"""

import importlib
from typing import Any


def later(name: str) -> Any:
    """The module of that name, which is imported when an attribute of it is first used."""
    return _Later(name)


class _Later:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)

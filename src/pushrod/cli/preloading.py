"""Loads libraries while a push's first programs run.

A deployment needs libraries whose loading takes a tenth of a second in all, and at first it mostly waits for Git.
"""

import contextlib
import importlib
import threading

_LIBRARIES = ("yaml", "dockerfile_parse", "http.client", "psutil", "xmlrpc.client", "tomllib", "tarfile")


def begin() -> None:
    """Load them in the background, in this order; whoever imports one meanwhile waits for it."""
    threading.Thread(target=_load, daemon=True).start()


def _load() -> None:
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):  # whoever needs it reports it
            importlib.import_module(name)

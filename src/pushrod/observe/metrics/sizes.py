"""What each running store takes, by its own count: asked rarely, and of one store at a time, because asking costs
more than everything else that is collected.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence

import msgspec

from pushrod.core.errors import PushrodError
from pushrod.core.values import Release
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App, Root
from pushrod.system import files

PERIOD = 300.0
"""Seconds after which a store is asked again."""


class Size(msgspec.Struct):
    """When a store was last asked, and the bytes that it takes; None if it did not say."""

    at: float
    bytes: int | None = None


Sizes = dict[str, dict[str, Size]]
"""By app and store."""


def known(root: Root) -> Sizes:
    """Those that were asked for before."""
    try:
        return msgspec.json.decode((root.runtime / "sizes.json").read_bytes(), type=Sizes)
    except (OSError, msgspec.DecodeError):
        return {}


def of(sizes: Mapping[str, Mapping[str, Size]], app: str, stores: Sequence[str]) -> dict[str, int]:
    """The sizes of an app's stores that are known."""
    own = sizes.get(app, {})
    return {name: size.bytes for name in stores if (size := own.get(name)) and size.bytes is not None}


def ask(root: Root, engine: Engine, live: Mapping[str, tuple[App, Release]]) -> None:
    """Ask the store that was asked longest ago, unless that was within PERIOD; `live` are the apps that are up, with
    their live releases. What is gone is forgotten.
    """
    before, now = known(root), time.time()
    sizes: Sizes = {
        name: {s.name: before.get(name, {}).get(s.name, Size(0.0)) for s in release.stores}
        for name, (_, release) in live.items()
        if release.stores
    }
    due = [(size.at, name, store) for name, own in sizes.items() for store, size in own.items()]
    due = [one for one in due if not 0 <= now - one[0] < PERIOD]
    if due:
        _, name, store = min(due)
        app, release = live[name]
        service = next(s for s in release.stores if s.name == store)
        value = None
        with contextlib.suppress(PushrodError, OSError):
            value = engine.stores.servers(app, [service])[store].taken()
        sizes[name][store] = Size(now, value)
    if sizes != before:
        files.write(root.runtime / "sizes.json", msgspec.json.encode(sizes))

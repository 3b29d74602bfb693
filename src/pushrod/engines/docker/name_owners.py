"""One name, one owner: which app a name on a Docker host belongs to.

Containers, networks, compose projects and units have names that begin with the app's. `-` divides their parts, and an
app's own name may have it: `shop-api-db` can be the store `api-db` of `shop`, and the store `db` of `shop-api`.
Volumes (`shop_data`), images (`pushrod/shop/web`) and directories have a divider that no app's name has.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Iterator

import msgspec

from pushrod.core.errors import UnknownNameError
from pushrod.engines.docker import names
from pushrod.state.apps import App

_LIKE_RELEASE = re.compile(r".+-r[0-9]+(-.*)?")  # `shop-r7` is the seventh release of the app `shop`


class _Store(msgspec.Struct):
    name: str


class _Sealed(msgspec.Struct):
    """The fields of a sealed release that are needed here."""

    stores: tuple[_Store, ...] = ()


def check_app(name: str) -> None:
    """Raise UnknownNameError if a new app's name could be that of another app's release."""
    if _LIKE_RELEASE.fullmatch(name):
        raise UnknownNameError(
            f"`{name}` cannot be an app's name: it could also be the name of another app's release",
            hint="choose a name without `-r` and a number",
        )


def foreign(app: App, stores: Collection[str], apps: Iterable[App]) -> list[str]:
    """The app's store containers whose names belong to another app, or may one day."""
    others = [other for other in apps if other.name != app.name]
    below = [f"{other.name}-" for other in others if other.name.startswith(f"{app.name}-")]
    held = {name for other in others if app.name.startswith(f"{other.name}-") for name in _stores(other)}
    return sorted(s for s in stores if s in held or s.startswith(tuple(below)) or _LIKE_RELEASE.fullmatch(s))


def within(name: str, apps: Iterable[App]) -> str:
    """A container of an existing app whose name would belong to a new app `name`; empty if there is none."""
    held = (s for other in apps if name.startswith(f"{other.name}-") for s in _stores(other))
    return next((s for s in held if s.startswith(f"{name}-")), "")


def _stores(app: App) -> Iterator[str]:
    """The store containers of each kept release of an app, running or not."""
    for path in (app.state / "releases").glob("*/release.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):  # a damaged file must not stop other apps
            sealed = msgspec.json.decode(path.read_bytes(), type=_Sealed)
            yield from (names.store(app, s.name) for s in sealed.stores)

"""A pusher with a strict umask: the account of instances and stores can still read what is made."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine
from pushrod.system import accounts

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop(machine: Machine) -> Iterator[App]:
    """An app with stores and dependencies, made and pushed with umask 077, in an open root."""
    machine.root.mkdir()
    files: dict[str, str | bytes] = {
        "app.py": f"import two\n{apps.APP}",
        "compose.yaml": apps.manifest_with_stores(),
        "requirements.txt": "./two-1.0-py3-none-any.whl\n",
        "two-1.0-py3-none-any.whl": apps.wheel("two", {"two.py": ""}),
    }
    before = os.umask(0o077)
    try:
        yield machine.app("shop", files)
    finally:
        os.umask(before)


def test_an_app_is_live_and_restarts_with_a_strict_umask(shop: App) -> None:
    assert shop.get().body == "one"
    shop.push_change()
    number = shop.live
    shop.must("restart")
    assert shop.live == number + 1


def test_the_account_can_enter_its_directories_and_others_cannot(shop: App, machine: Machine) -> None:
    """Also if they need a capability for it, because Python is in a closed home."""
    root = machine.root
    places = [
        shop.directory / f"checkouts/{shop.live}",
        *(shop.directory / "stores" / name for name in ("postgres", "redis")),
    ]
    environments = list((root / "environments").glob("*/bin"))
    assert environments
    group = accounts.children_group()
    ways = {p for place in places + environments for p in upwards(place, root)}
    assert [str(p) for p in ways if not passes(p, group)] == []
    assert root.stat().st_mode & 0o007 == 0


def passes(directory: Path, group: int | None) -> bool:
    """Whether the account of instances and stores may enter a directory."""
    result = directory.stat()
    ours = 0o100 if group is None else 0o010 if result.st_gid == group else 0
    return bool(result.st_mode & (ours | 0o001))


def upwards(place: Path, root: Path) -> list[Path]:
    """A directory and its parents, below a root."""
    return [p for p in (place, *place.parents) if p.is_relative_to(root)]

"""Helpers for tests of custom nginx lines."""

from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.ingress import snippets
from pushrod.ingress.snippets.reader import lines

GROUPS = ("app-shop", "app-shop.api")


def check(text: str, *, free: bool = False) -> None:
    snippets.check(text, "docker/nginx/own.conf", "shop", GROUPS, free=free)


def words(text: str) -> list[tuple[str, ...]]:
    return [line.words for line in lines(text, "own.conf")]


def refused(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        check(text)
    assert caught.value.where.startswith("docker/nginx/own.conf")
    assert caught.value.hint
    return caught.value


def write(directory: Path, *names: str, text: str = "break;") -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def read(directory: Path, *patterns: str) -> dict[str, str]:
    return snippets.read(patterns, directory, "shop", GROUPS, ())

"""Regular expressions that are compiled when they are first used."""

import re

import pytest

from pushrod.core.patterns import lazy


def test_it_finds_what_a_compiled_one_finds() -> None:
    name = lazy(r"([a-z]+)-(\d+)", re.IGNORECASE)
    match = name.fullmatch("Shop-12")
    assert match is not None and match.groups() == ("Shop", "12")
    assert name.sub(r"\2", "shop-1 shop-2") == "1 2"
    assert (name.pattern, name.flags & re.IGNORECASE) == (r"([a-z]+)-(\d+)", re.IGNORECASE)
    assert lazy(rb"\d+").findall(b"1 22") == [b"1", b"22"]


def test_it_is_compiled_once_and_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_ = re.compile
    monkeypatch.setattr(re, "compile", lambda text, flags=0: compiled.append(text) or compile_(text, flags))
    name = lazy("[a-z]+")
    assert not compiled
    assert [bool(name.search(text)) for text in ("a", "1", "b")] == [True, False, True]
    assert compiled == ["[a-z]+"]

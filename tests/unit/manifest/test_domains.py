"""The names an app answers to."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import EngineName, Manifest


def read(domains: Any, engine: EngineName = "docker") -> Manifest:
    document = {"services": {"web": {"build": "."}}, "x-pushrod": {"domains": domains}}
    return manifest.read(document, engine=engine)


def test_valid_names_are_read() -> None:
    given = [
        "shop.example.com",
        "*.shop.example.com",
        "localhost",
        "bücher.example",
        "xn--bcher-kva.example.org",
    ]
    result = read(given)
    assert result.domains == (*given[:3], "xn--bcher-kva.example", given[4])
    assert result.notes == ()
    assert result.ours


def test_no_names_are_an_empty_list() -> None:
    assert read(None).domains == read([]).domains == ()


def test_the_embedded_engine_notes_once_that_domains_are_not_served() -> None:
    assert read(["a.example", "b.example"], "embedded").notes == (
        "`x-pushrod.domains` are served on a Docker host only",
    )
    assert read([], "embedded").notes == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("https://shop.example.com", "no https://"),
        ("shop.example.com:443", "no port"),
        ("shop.example.com/x", "no path"),
        ("Shop.example.com", "lower case"),
        *((name, "correct that key") for name in ("a..b", ".a", "a.", "-a.b", "a_b.c", "a b", "10.0.0.1", "*", "*.")),
        *((name, "correct that key") for name in ("a.*.b", "\ud800.a")),
        ("x" * 64, "each part has at most 63 characters"),
        ("a." * 126 + "ab", "a name has at most 253 characters"),
        *((odd, "correct that key") for odd in (3, None, dict[str, str]())),
        ("", "secret set NAME"),
        ("ü" * 63 + ".example", "correct that key"),
        ("a\n.example", "correct that key"),
    ],
)  # fmt: skip
def test_an_invalid_name_is_refused(name: Any, hint: str) -> None:
    with pytest.raises(ManifestError) as error:
        read(["ok.example", name])
    assert error.value.where == "x-pushrod.domains[1]"
    assert error.value.what.startswith("expected a host name such as shop.example.com")
    assert hint in error.value.hint


@pytest.mark.parametrize("pair", [["a.example", "a.example"], ["xn--bcher-kva.example", "bücher.example"]])
def test_a_duplicate_name_is_refused(pair: list[str]) -> None:
    with pytest.raises(ManifestError) as error:
        read(pair)
    assert (error.value.what, error.value.where) == (f"`{pair[1]}` is listed twice", "x-pushrod.domains[1]")


def test_a_single_name_must_be_a_list() -> None:
    with pytest.raises(ManifestError, match="expected a list"):
        read("shop.example.com")


def test_the_number_of_names_is_limited() -> None:
    names = [f"n{n}.example.com" for n in range(101)]
    assert len(read(names[:100]).domains) == 100
    with pytest.raises(ManifestError, match="more than 100 names"):
        read(names)

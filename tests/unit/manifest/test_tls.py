"""`x-pushrod.tls`: the chosen source, and what is refused."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import Encryption, EngineName, Manifest
from pushrod.manifest import tls


def read(value: Any = None, *domains: str, engine: EngineName = "docker") -> Manifest:
    own: dict[str, Any] = {"domains": list(domains)}
    if value is not None:
        own["tls"] = value
    document = {"name": "shop", "services": {"web": {"build": ".", "ports": ["80"]}}, "x-pushrod": own}
    return manifest.read(document, engine=engine)


@pytest.mark.parametrize(
    ("domains", "source"),
    [
        ((), "off"),
        (("shop.org",), "acme"),
        (("shop.localhost",), "off"),
        (("shop.example.com", "shop.test", "localhost", "shop.internal", "box"), "off"),
        (("*.shop.org",), "off"),
        (("shop.localhost", "shop.org"), "acme"),
    ],
)
def test_a_host_has_a_default_certificate_source(domains: tuple[str, ...], source: str) -> None:
    assert read(None, *domains).tls == Encryption(source)  # type: ignore[arg-type]


def test_the_embedded_engine_issues_no_certificate_by_default() -> None:
    assert read(None, "shop.org", engine="embedded").tls.source == "off"
    assert read({"source": "local"}, engine="embedded").tls.source == "local"
    result = read({"source": "acme"}, engine="embedded")
    assert result.tls.source == "off"
    assert (
        "`x-pushrod.tls.source: acme` works on a Docker host only; `local` creates a certificate here"
        in result.notes
    )


def test_the_keys_are_read() -> None:
    result = read({"source": "acme", "email": "ops@shop.org", "hsts": 0}, "shop.org").tls
    assert result == Encryption("acme", "ops@shop.org", 0)
    assert read({"hsts": 63072000}, "shop.org").tls == Encryption("acme", "", 63072000)
    assert read({"source": False}, "shop.org").tls.source == "off"
    assert read({"source": "off"}, "shop.org").tls.source == "off"


@pytest.mark.parametrize(
    ("value", "domains", "where"),
    [
        ({"source": "letsencrypt"}, ("shop.org",), "x-pushrod.tls.source"),
        ({"source": "acme"}, (), "x-pushrod.tls.source"),
        ({"source": "files"}, (), "x-pushrod.tls.source"),
        ({"source": "acme"}, ("shop.org", "*.shop.org"), "x-pushrod.tls.source"),
        ({"source": "acme"}, ("shop.localhost",), "x-pushrod.tls.source"),
        ({"email": "ops"}, ("shop.org",), "x-pushrod.tls.email"),
        ({"hsts": "long"}, ("shop.org",), "x-pushrod.tls.hsts"),
        ({"hsts": -1}, ("shop.org",), "x-pushrod.tls.hsts"),
        ({"mail": "ops@shop.org"}, ("shop.org",), "x-pushrod.tls.mail"),
        ("acme", ("shop.org",), "x-pushrod.tls"),
    ],
)
def test_invalid_values_are_refused(value: Any, domains: tuple[str, ...], where: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(value, *domains)
    assert caught.value.where == where
    assert caught.value.hint


@pytest.mark.parametrize("name", ["example.com", "shop.example.org", "a.home.arpa", "a.onion", "localhost"])
def test_a_reserved_name_is_not_public(name: str) -> None:
    assert not tls.is_public(name)
    assert tls.is_public(f"{name}.shop.org")

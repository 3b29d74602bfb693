"""For which names a certificate is served, when one is due, and the warning if one is missing."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pushrod.adapters import openssl
from pushrod.adapters.openssl import Described
from pushrod.core.errors import HostError, StateError
from pushrod.core.site import Tls
from pushrod.core.values import Encryption, Release
from pushrod.ingress import certificates
from pushrod.ingress.certificates import Certificates, Failure, Kept
from pushrod.state.apps import App
from pushrod.system import files
from tests.unit.samples import release

GENERATION = "3f9a07c15b2e8d44"


def release_with(source: str = "acme", *domains: str, hsts: int = 600) -> Release:
    return release(domains=domains or ("shop.org",), tls=Encryption(source, "", hsts), stores=())  # type: ignore[arg-type]


def described(*names: str, days: float = 60, lifetime: float = 90) -> Described:
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    begins = ends - datetime.timedelta(days=lifetime)
    return Described(names or ("shop.org",), begins.isoformat(), ends.isoformat(), "CN = x", "f" * 64)


def place(app: App, *names: str, source: str = "acme", **times: float) -> Kept:
    """Put a certificate in place, whose PEM files say nothing."""
    kept = Kept(GENERATION, source, described(*names, **times))
    directory = Certificates(app).directory
    for name, kind in (("chain.pem", "CERTIFICATE"), ("key.pem", "PRIVATE KEY")):
        files.write(directory / GENERATION / name, f"-----BEGIN {kind}-----\nx\n-----END {kind}-----\n")
    files.write(directory / GENERATION / "certificate.json", msgspec.json.encode(kept))
    files.point(directory / "current", GENERATION)
    return kept


def fail(app: App, requested: Release, **changes: Any) -> None:
    Certificates(app).failed(requested, HostError("no", hint="fix it"))
    if changes:
        result = Certificates(app).failure()
        assert result
        changed = msgspec.structs.replace(result, **changes)
        files.write(Certificates(app).directory / "failure.json", msgspec.json.encode(changed))


def test_without_a_certificate_there_is_no_tls(app: App) -> None:
    assert Certificates(app).tls(release_with()) is None
    assert Certificates(app).url(release_with()) == "http://shop.org:8123"


def test_tls_covers_the_names_in_the_certificate(app: App) -> None:
    place(app, "shop.org", "*.shop.org")
    tls = Certificates(app).tls(release_with("acme", "shop.org", "www.shop.org", "new.org"))
    assert tls == Tls(GENERATION, ("shop.org", "www.shop.org"), 8566, 600)
    assert Certificates(app).tls(release_with("acme", "new.org")) is None


def test_the_url_uses_https_if_the_first_name_has_tls(app: App) -> None:
    place(app)
    assert Certificates(app).url(release_with()) == "https://shop.org:8566"
    assert Certificates(app).url(release_with("acme", "new.org", "shop.org")) == "http://new.org:8123"
    assert Certificates(app).url(None) == "http://127.0.0.1:8123"


def test_a_certificate_of_another_source_is_used_until_the_new_one_is_issued(app: App) -> None:
    place(app)
    assert Certificates(app).tls(release_with("files"))
    assert Certificates(app).tls(release_with("off")) is None


def test_a_local_certificate_is_not_used_for_acme_and_has_no_hsts(app: App) -> None:
    place(app, source="local")
    assert Certificates(app).tls(release_with("acme")) is None
    tls = Certificates(app).tls(release_with("local"))
    assert tls and tls.hsts == 0


@pytest.mark.parametrize(("port", "expected"), [(80, 443), (8000, 8443)])
def test_the_tls_port_is_derived_from_the_port(port: int, expected: int) -> None:
    assert certificates.tls_port(port) == expected


@pytest.mark.parametrize(
    ("requested", "names"),
    [
        (release_with("acme", "shop.org", "*.shop.org", "shop.localhost"), ("shop.org",)),
        (release_with("files", "shop.org", "*.shop.org"), ("shop.org", "*.shop.org")),
        (release(tls=Encryption("local")), ("localhost", "*.localhost")),
        (release_with("off"), ()),
    ],
)
def test_the_names_of_a_certificate_are_selected(requested: Release, names: tuple[str, ...]) -> None:
    assert certificates.names_for(requested) == names


def test_a_deployment_requests_missing_certificates_but_no_renewals(app: App) -> None:
    result = Certificates(app)
    assert result.due(release_with())
    assert not result.due(release_with("off"))
    place(app, days=1)
    assert not result.due(release_with())
    assert result.due(release_with("acme", "shop.org", "new.org"))
    assert result.due(release_with("files"))


def test_a_deployment_does_not_retry_within_an_hour(app: App) -> None:
    result = Certificates(app)
    fail(app, release_with())
    assert not result.due(release_with())
    assert result.due(release_with("acme", "shop.org", "new.org"))
    fail(app, release_with(), at="2026-01-01T00:00:00.000+00:00")
    assert result.due(release_with())


def problems(app: App, requested: Release) -> list[tuple[str, str]]:
    return [(f.state, f.detail) for f in certificates.examine(app, requested)]


def test_a_missing_certificate_is_reported(app: App) -> None:
    assert problems(app, release_with()) == [("warning", "no certificate for shop.org")]
    fail(app, release_with())
    (result,) = certificates.examine(app, release_with())
    assert (result.detail, result.remedy) == ("no certificate for shop.org: no", "fix it")
    assert problems(app, release_with("off")) == []


def test_a_certificate_that_was_not_renewed_is_reported(app: App) -> None:
    place(app, days=31)
    assert problems(app, release_with()) == []
    kept = place(app, days=20)
    assert problems(app, release_with()) == [
        ("warning", f"its certificate ends on {kept.certificate.ends[:10]}")
    ]
    kept = place(app, days=60)
    fail(app, release_with())
    assert problems(app, release_with()) == [
        ("warning", f"its certificate ends on {kept.certificate.ends[:10]}: no")
    ]
    kept = place(app, days=-1)
    assert problems(app, release_with())[0] == (
        "broken",
        f"its certificate expired on {kept.certificate.ends[:10]}: no",
    )
    assert Certificates(app).tls(release_with())  # and yet it is served


@pytest.mark.slow
def test_a_supplied_certificate_is_checked_first_and_kept_private(app: App) -> None:
    result, authority = Certificates(app), openssl.authority("tests")
    pair = openssl.issue(authority, ["shop.org"])
    result.give(pair)
    assert result.given.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError):
        result.give(openssl.Pair(pair.chain, authority.key))
    assert openssl.pair(result.given.read_text()) == pair
    assert (result.take_back(), result.take_back()) == (True, False)


def test_a_recorded_failure_is_read_back(app: App) -> None:
    fail(app, release_with())
    result = Certificates(app).failure()
    assert isinstance(result, Failure)
    assert (result.names, result.why, result.hint) == (("shop.org",), "no", "fix it")


@pytest.mark.slow
def test_the_certificate_requests_of_an_app_are_limited(app: App) -> None:
    """All apps have one account at the authority, and may have names below one domain."""
    result, requested = Certificates(app), 0
    pair = openssl.issue(openssl.authority("x"), ["shop.org"])
    kept = Kept(GENERATION, "acme", openssl.describe(pair.chain))
    files.write(result.directory / GENERATION / "certificate.json", msgspec.json.encode(kept))
    files.point(result.directory / "current", GENERATION)

    def refused() -> openssl.Pair:
        nonlocal requested
        requested += 1
        raise HostError("no")

    for _ in range(30):
        assert requested or result._ordered(lambda: pair) == pair  # what is there already does not count
        with pytest.raises(HostError):
            result._ordered(refused)
    assert requested == 20
    with pytest.raises(HostError, match="20 certificates in a day"):
        result._ordered(lambda: pair)
    long_ago = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)).isoformat()
    files.write(result.directory / "orders.json", msgspec.json.encode([long_ago] * 39))
    with pytest.raises(HostError, match="no"):
        result._ordered(refused)
    with pytest.raises(HostError, match="40 in a week"):
        result._ordered(refused)


# ---- what is damaged -----------------------------------------------------------------------------------------


def obtained(app: App) -> tuple[Certificates, Kept]:
    """One from this machine's own authority, in place."""
    result = Certificates(app)
    pair = result._local(release_with("local", "shop.localhost"), force=False)
    kept = Kept(openssl.describe(pair.chain).fingerprint[:16], "local", openssl.describe(pair.chain))
    place = result.directory / kept.generation
    for name, text in (("chain.pem", pair.chain), ("key.pem", pair.key)):
        files.write(place / name, text)
    files.write(place / "certificate.json", msgspec.json.encode(kept))
    files.point(result.directory / "current", kept.generation)
    return result, kept


def a_directory(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "x").touch()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40] if path.exists() else b'{"a')


def garbled(path: Path) -> None:
    path.write_bytes(b"\0\xff{")


DAMAGE = [cut, garbled, a_directory]


@pytest.mark.slow
def test_intact_files_are_not_repaired(app: App) -> None:
    result, kept = obtained(app)
    assert result.repair() == []
    assert (result.current(), result.damage()) == (kept, None)


@pytest.mark.parametrize("way", [*DAMAGE, Path.unlink])
@pytest.mark.slow
def test_a_damaged_certificate_record_is_rebuilt(way: Callable[[Path], None], app: App) -> None:
    result, kept = obtained(app)
    way(result.directory / "current" / "certificate.json")
    assert result.damage() or way is Path.unlink
    assert result.repair() == ["the record of its certificate was rebuilt"]
    assert (result.current(), result.damage(), result.repair()) == (kept, None, [])


@pytest.mark.parametrize("way", [*DAMAGE, Path.unlink])
@pytest.mark.parametrize("name", ["chain.pem", "key.pem"])
@pytest.mark.slow
def test_a_damaged_certificate_is_kept_aside(name: str, way: Callable[[Path], None], app: App) -> None:
    result, kept = obtained(app)
    way(result.directory / "current" / name)
    (problem,) = certificates.examine(app, release_with("local", "shop.localhost"))
    assert (problem.state, problem.remedy) == ("broken", "`pushrod doctor --repair` fixes it")
    assert str(result.directory) in problem.detail
    (done,) = result.repair()
    assert done == f"its certificate cannot be read, and is kept as {kept.generation}.damaged-1"
    assert (result.current(), result.repair()) == (None, [])
    assert result.due(release_with("local", "shop.localhost"))


@pytest.mark.parametrize("way", DAMAGE)
@pytest.mark.parametrize("name", ["failure.json", "current"])
@pytest.mark.slow
def test_unreadable_certificate_files_are_set_aside(name: str, way: Callable[[Path], None], app: App) -> None:
    result, _ = obtained(app)
    path = result.directory / name
    path.unlink(missing_ok=True)
    way(path)
    assert result.damage()
    assert result.repair() == [f"unreadable certificate files are kept as {name}.damaged-1"]
    assert (result.failure(), result.damage(), result.repair()) == (None, None, [])


@pytest.mark.parametrize("source", ["local", "files", "acme"])
@pytest.mark.slow
def test_the_source_of_a_certificate_is_inferred_from_remaining_files(source: str, app: App) -> None:
    result, kept = obtained(app)
    pair = openssl.Pair(
        (result.directory / "current" / "chain.pem").read_text(),
        (result.directory / "current" / "key.pem").read_text(),
    )
    if source != "local":
        files.remove_tree(result.authority)
    if source == "files":
        result.give(pair)
    (result.directory / "current" / "certificate.json").unlink()
    result.repair()
    assert result.current() == msgspec.structs.replace(kept, source=source)

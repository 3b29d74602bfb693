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


def wanted(source: str = "acme", *domains: str, hsts: int = 600) -> Release:
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


def fail(app: App, asked: Release, **changes: Any) -> None:
    Certificates(app).failed(asked, HostError("no", hint="mend it"))
    if changes:
        found = Certificates(app).failure()
        assert found
        changed = msgspec.structs.replace(found, **changes)
        files.write(Certificates(app).directory / "failure.json", msgspec.json.encode(changed))


def test_without_a_certificate_there_is_no_tls(app: App) -> None:
    assert Certificates(app).tls(wanted()) is None
    assert Certificates(app).url(wanted()) == "http://shop.org:8123"


def test_the_names_that_the_certificate_is_for_have_tls(app: App) -> None:
    place(app, "shop.org", "*.shop.org")
    tls = Certificates(app).tls(wanted("acme", "shop.org", "www.shop.org", "new.org"))
    assert tls == Tls(GENERATION, ("shop.org", "www.shop.org"), 8566, 600)
    assert Certificates(app).tls(wanted("acme", "new.org")) is None


def test_the_url_has_tls_where_the_first_name_does(app: App) -> None:
    place(app)
    assert Certificates(app).url(wanted()) == "https://shop.org:8566"
    assert Certificates(app).url(wanted("acme", "new.org", "shop.org")) == "http://new.org:8123"
    assert Certificates(app).url(None) == "http://127.0.0.1:8123"


def test_a_certificate_of_another_source_goes_on_until_the_new_one_comes(app: App) -> None:
    place(app)
    assert Certificates(app).tls(wanted("files"))
    assert Certificates(app).tls(wanted("off")) is None


def test_a_local_one_is_not_shown_to_the_world_and_browsers_are_told_nothing(app: App) -> None:
    place(app, source="local")
    assert Certificates(app).tls(wanted("acme")) is None
    tls = Certificates(app).tls(wanted("local"))
    assert tls and tls.hsts == 0


@pytest.mark.parametrize(("port", "expected"), [(80, 443), (8000, 8443)])
def test_the_port_with_tls(port: int, expected: int) -> None:
    assert certificates.tls_port(port) == expected


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (wanted("acme", "shop.org", "*.shop.org", "shop.localhost"), ("shop.org",)),
        (wanted("files", "shop.org", "*.shop.org"), ("shop.org", "*.shop.org")),
        (release(tls=Encryption("local")), ("localhost", "*.localhost")),
        (wanted("off"), ()),
    ],
)
def test_the_names_of_a_certificate(asked: Release, names: tuple[str, ...]) -> None:
    assert certificates.names_for(asked) == names


def test_a_deployment_asks_for_what_is_missing_and_leaves_renewals_to_the_timer(app: App) -> None:
    found = Certificates(app)
    assert found.due(wanted())
    assert not found.due(wanted("off"))
    place(app, days=1)
    assert not found.due(wanted())
    assert found.due(wanted("acme", "shop.org", "new.org"))
    assert found.due(wanted("files"))


def test_a_deployment_does_not_ask_again_within_the_hour(app: App) -> None:
    found = Certificates(app)
    fail(app, wanted())
    assert not found.due(wanted())
    assert found.due(wanted("acme", "shop.org", "new.org"))
    fail(app, wanted(), at="2026-01-01T00:00:00.000+00:00")
    assert found.due(wanted())


def said(app: App, asked: Release) -> list[tuple[str, str]]:
    return [(f.state, f.detail) for f in certificates.examine(app, asked)]


def test_what_is_said_of_a_missing_one(app: App) -> None:
    assert said(app, wanted()) == [("warning", "no certificate for shop.org")]
    fail(app, wanted())
    (found,) = certificates.examine(app, wanted())
    assert (found.detail, found.remedy) == ("no certificate for shop.org: no", "mend it")
    assert said(app, wanted("off")) == []


def test_what_is_said_of_one_that_is_not_renewed(app: App) -> None:
    place(app, days=31)
    assert said(app, wanted()) == []
    kept = place(app, days=20)
    assert said(app, wanted()) == [("warning", f"its certificate ends on {kept.certificate.ends[:10]}")]
    kept = place(app, days=60)
    fail(app, wanted())
    assert said(app, wanted()) == [("warning", f"its certificate ends on {kept.certificate.ends[:10]}: no")]
    kept = place(app, days=-1)
    assert said(app, wanted())[0] == (
        "broken",
        f"its certificate expired on {kept.certificate.ends[:10]}: no",
    )
    assert Certificates(app).tls(wanted())  # and yet it is served


@pytest.mark.slow
def test_what_was_given_is_checked_first_and_kept_private(app: App) -> None:
    found, authority = Certificates(app), openssl.authority("tests")
    pair = openssl.issue(authority, ["shop.org"])
    found.give(pair)
    assert found.given.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError):
        found.give(openssl.Pair(pair.chain, authority.key))
    assert openssl.pair(found.given.read_text()) == pair
    assert (found.take_back(), found.take_back()) == (True, False)


def test_a_failure_can_be_read_again(app: App) -> None:
    fail(app, wanted())
    found = Certificates(app).failure()
    assert isinstance(found, Failure)
    assert (found.names, found.why, found.hint) == (("shop.org",), "no", "mend it")


@pytest.mark.slow
def test_an_app_asks_for_so_many_certificates_only(app: App) -> None:
    """All apps have one account at the authority, and may have names below one domain."""
    found, asked = Certificates(app), 0
    pair = openssl.issue(openssl.authority("x"), ["shop.org"])
    kept = Kept(GENERATION, "acme", openssl.describe(pair.chain))
    files.write(found.directory / GENERATION / "certificate.json", msgspec.json.encode(kept))
    files.point(found.directory / "current", GENERATION)

    def refused() -> openssl.Pair:
        nonlocal asked
        asked += 1
        raise HostError("no")

    for _ in range(30):
        assert asked or found._ordered(lambda: pair) == pair  # what is there already does not count
        with pytest.raises(HostError):
            found._ordered(refused)
    assert asked == 20
    with pytest.raises(HostError, match="20 certificates in a day"):
        found._ordered(lambda: pair)
    long_ago = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)).isoformat()
    files.write(found.directory / "orders.json", msgspec.json.encode([long_ago] * 39))
    with pytest.raises(HostError, match="no"):
        found._ordered(refused)
    with pytest.raises(HostError, match="40 in a week"):
        found._ordered(refused)


# ---- what is damaged -----------------------------------------------------------------------------------------


def obtained(app: App) -> tuple[Certificates, Kept]:
    """One from this machine's own authority, in place."""
    found = Certificates(app)
    pair = found._local(wanted("local", "shop.localhost"), force=False)
    kept = Kept(openssl.describe(pair.chain).fingerprint[:16], "local", openssl.describe(pair.chain))
    place = found.directory / kept.generation
    for name, text in (("chain.pem", pair.chain), ("key.pem", pair.key)):
        files.write(place / name, text)
    files.write(place / "certificate.json", msgspec.json.encode(kept))
    files.point(found.directory / "current", kept.generation)
    return found, kept


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
def test_what_is_whole_is_not_mended(app: App) -> None:
    found, kept = obtained(app)
    assert found.repair() == []
    assert (found.current(), found.damage()) == (kept, None)


@pytest.mark.parametrize("way", [*DAMAGE, Path.unlink])
@pytest.mark.slow
def test_a_damaged_record_of_a_certificate_is_made_anew(way: Callable[[Path], None], app: App) -> None:
    found, kept = obtained(app)
    way(found.directory / "current" / "certificate.json")
    assert found.damage() or way is Path.unlink
    assert found.repair() == ["the record of its certificate was rebuilt"]
    assert (found.current(), found.damage(), found.repair()) == (kept, None, [])


@pytest.mark.parametrize("way", [*DAMAGE, Path.unlink])
@pytest.mark.parametrize("name", ["chain.pem", "key.pem"])
@pytest.mark.slow
def test_a_damaged_certificate_is_kept_aside(name: str, way: Callable[[Path], None], app: App) -> None:
    found, kept = obtained(app)
    way(found.directory / "current" / name)
    (problem,) = certificates.examine(app, wanted("local", "shop.localhost"))
    assert (problem.state, problem.remedy) == ("broken", "`pushrod doctor --repair` fixes it")
    assert str(found.directory) in problem.detail
    (done,) = found.repair()
    assert done == f"its certificate cannot be read, and is kept as {kept.generation}.damaged-1"
    assert (found.current(), found.repair()) == (None, [])
    assert found.due(wanted("local", "shop.localhost"))


@pytest.mark.parametrize("way", DAMAGE)
@pytest.mark.parametrize("name", ["failure.json", "current"])
@pytest.mark.slow
def test_what_is_in_the_place_of_another_file_is_kept_aside(
    name: str, way: Callable[[Path], None], app: App
) -> None:
    found, _ = obtained(app)
    path = found.directory / name
    path.unlink(missing_ok=True)
    way(path)
    assert found.damage()
    assert found.repair() == [f"unreadable certificate files are kept as {name}.damaged-1"]
    assert (found.failure(), found.damage(), found.repair()) == (None, None, [])


@pytest.mark.parametrize("source", ["local", "files", "acme"])
@pytest.mark.slow
def test_where_a_certificate_came_from_is_told_by_what_is_still_there(source: str, app: App) -> None:
    found, kept = obtained(app)
    pair = openssl.Pair(
        (found.directory / "current" / "chain.pem").read_text(),
        (found.directory / "current" / "key.pem").read_text(),
    )
    if source != "local":
        files.remove_tree(found.authority)
    if source == "files":
        found.give(pair)
    (found.directory / "current" / "certificate.json").unlink()
    found.repair()
    assert found.current() == msgspec.structs.replace(kept, source=source)

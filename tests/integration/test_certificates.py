"""Certificates from an ACME server, from files and from this machine's own authority, with real requests.

The pipeline has its own edge but no other engine parts: the release is live, and its one instance is the test's.
"""

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import yaml

from devtools.apps import FILES, Machine, complaint
from devtools.servers import free_port
from pushrod.adapters import git, openssl
from pushrod.adapters.nginx import Edge
from pushrod.core.errors import EdgeError, HostError, StateError
from pushrod.core.traits import DOCKER
from pushrod.core.values import Encryption, Instance, Release
from pushrod.engines.front_gate import EdgeIngress, WorkersDrain
from pushrod.ingress import certificates
from pushrod.ingress.certificates import Certificates
from pushrod.releases import renewal
from pushrod.releases.pipeline import Pipeline
from pushrod.state.apps import App, Root, Settings
from pushrod.state.journal import Journal
from pushrod.state.releases import Releases
from pushrod.system import network
from tests.integration.edges import Backend, an_edge, ask
from tests.integration.pebble import MISSING, PROGRAMS, Pebble, advising, limiting, pebble
from tests.integration.test_tls import get
from tests.unit.samples import release

pytestmark = pytest.mark.integration
needs_pebble = pytest.mark.skipif(None in PROGRAMS, reason=MISSING)

NAME = "shop.test"


@dataclass
class Silent:
    """Progress that keeps its notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


class Served:
    """An app with a live release, its edge, and its clients' view."""

    def __init__(self, app: App, edge: Edge, backend: Backend) -> None:
        self.app, self.edge, self.backend = app, edge, backend
        self.root = app.root
        self.traits, self.ingress, self.platform = DOCKER, EdgeIngress(lambda: self.edge), self
        self.progress = Silent()
        self.certificates = Certificates(app)
        empty = git.git(app.repository, "hash-object", "-w", "-t", "tree", "--stdin", stdin="").strip()
        self.commit = git.git(app.repository, "commit-tree", empty, "-m", "first").strip()

    def open(self) -> None:
        """It runs already."""

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.app, self, self.progress)  # type: ignore[arg-type]

    @property
    def tls_port(self) -> int:
        return certificates.tls_port(self.app.settings.port)

    def live(self, *domains: str, source: str = "acme", number: int = 1) -> Release:
        """Make a release live that asks for a certificate, in the state a deployment leaves: without one."""
        sealed = release(
            number,
            commit=self.commit,
            engine="docker",
            stores=(),
            instances=(Instance("backend-1", "backend", self.backend.port),),
            domains=domains or (NAME,),
            tls=Encryption(source, hsts=600),  # type: ignore[arg-type]
        )
        Releases(self.app).seal(sealed)
        Releases(self.app).point(number)
        journal = Journal(self.app.journal)
        for event in ("prepare", "promote", "live", "done"):
            journal.append(event, number, commit=sealed.commit)
        self.edge.switch({self.app.name: self.pipeline.serving.site(sealed)})
        return sealed

    def shown(self) -> str:
        return self.edge.serves(self.edge.sites()["shop"])

    def problem(self, sealed: Release) -> str:
        return "; ".join(f"{f.state}: {f.detail}" for f in certificates.examine(self.app, sealed))


def an_app(root: Root, name: str, port: int) -> App:
    """An app without a release."""
    app = App(root, name)
    app.directory.mkdir()
    git.create_state(app.state)
    git.create_repository(app.repository, ["true"])
    app.save(Settings(name, port, "docker", "2026-01-01T00:00:00.000+00:00"))
    return app


@pytest.fixture
def served(home: Path, tmp_path: Path) -> Iterator[Served]:
    with an_edge(tmp_path) as started:
        started.start()
        root = Root(started.edge.directory.parent)
        root.create()
        backend = Backend("one")
        yield Served(an_app(root, "shop", free_port()), started.edge, backend)
        backend.shutdown()
        backend.server_close()


@pytest.fixture
def acme(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pebble]:
    with pebble(tmp_path / "pebble", served.app.settings.port) as server:
        monkeypatch.setenv("PUSHROD_ACME_SERVER", server.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.trust))
        yield server


# ---- by ACME --------------------------------------------------------------------------------------------------


@needs_pebble
def test_a_certificate_is_issued_served_and_renewed(served: Served, acme: Pebble, tmp_path: Path) -> None:
    sealed = served.live(NAME, "www.shop.test")
    assert ask(served.app.settings.port, Host=NAME).body == "one"
    assert served.problem(sealed) == f"warning: no certificate for {NAME}, www.shop.test"
    assert served.certificates.url(sealed).startswith("http://")

    first = served.pipeline.certify()
    assert first and set(first.certificate.names) == {NAME, "www.shop.test"}
    trust = tmp_path / "root.pem"
    trust.write_text(acme.root())
    answer = get(served.tls_port, trust, name="www.shop.test")
    assert (answer.status, answer.body) == (200, "one")
    assert answer.headers["Strict-Transport-Security"] == "max-age=600"
    assert ask(served.app.settings.port, Host=NAME).status == 308
    assert served.certificates.url(sealed) == f"https://{NAME}:{served.tls_port}"
    assert served.problem(sealed) == ""
    key = served.edge.certificates / "shop" / first.generation / "key.pem"
    assert key.stat().st_mode & 0o777 == 0o600

    again = served.pipeline.certify()
    assert again == first  # certbot decided that it is valid for long enough
    renewed = served.pipeline.certify(force=True)
    assert renewed and renewed != first
    assert served.shown() == renewed.certificate.fingerprint
    assert served.certificates.current() == renewed


@needs_pebble
def test_an_additional_name_needs_a_new_certificate(served: Served, acme: Pebble) -> None:
    served.live(NAME)
    first = served.pipeline.certify()
    sealed = served.live(NAME, "new.test", number=2)
    assert served.shown() == first.certificate.fingerprint  # type: ignore[union-attr]
    assert ask(served.app.settings.port, Host="new.test").status == 200
    assert served.certificates.due(sealed)
    second = served.pipeline.certify()
    assert second and set(second.certificate.names) == {NAME, "new.test"}
    assert ask(served.app.settings.port, Host="new.test").status == 308
    assert not served.certificates.due(sealed)


@needs_pebble
def test_a_certificate_is_renewed_if_the_acme_server_requests_it(
    served: Served, acme: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a mistake of the authority: it says that this certificate must be replaced now (RFC 9773, 4.2)."""
    served.live()
    with advising(acme, tmp_path / "pebble") as advice:
        monkeypatch.setenv("PUSHROD_ACME_SERVER", advice.url)
        first = served.pipeline.certify()
        assert served.pipeline.certify() == first
        assert advice.asked, "certbot has not asked when to renew"
        advice.begins = -48
        forget_when_to_ask(served)
        second = served.pipeline.certify()
    assert first and second and first.generation != second.generation
    assert served.shown() == second.certificate.fingerprint


def forget_when_to_ask(served: Served) -> None:
    """certbot asks again after the time given by the server, hours later: remove that time from its notes."""
    path = served.root.path / "certbot" / "config" / "renewal" / "shop.conf"
    path.write_text(re.sub(r"(?m)^ari_retry_after = .*$\n?", "", path.read_text()))


def refused(served: Served, match: str, *, force: bool = False) -> HostError:
    """A renewal that fails, after which nothing has changed."""
    before, site = served.certificates.current(), served.edge.sites()["shop"]
    shown = served.edge.serves(site)
    with pytest.raises(HostError, match=match) as caught:
        served.pipeline.certify(force=force)
    assert caught.value.hint
    assert served.edge.sites()["shop"] == site
    assert served.edge.serves(site) == shown
    assert served.certificates.current() == before
    failure = served.certificates.failure()
    assert failure and failure.why == caught.value.what
    return caught.value


@needs_pebble
def test_a_name_that_resolves_elsewhere_is_reported(served: Served, acme: Pebble) -> None:
    sealed = served.live()
    acme.answer(NAME, "127.0.0.9")
    error = refused(served, "could not prove the names")
    assert "127.0.0.9" in error.what or "refused" in error.what
    assert served.problem(sealed).startswith(
        f"warning: no certificate for {NAME}: the ACME server could not prove"
    )
    assert ask(served.app.settings.port, Host=NAME).body == "one"
    assert not served.certificates.due(sealed)  # a deployment within the hour does not retry
    acme.answer(NAME, "127.0.0.1")
    assert served.pipeline.certify()
    assert served.certificates.failure() is None


@needs_pebble
def test_a_rate_limit_of_the_acme_server_is_reported(
    served: Served, acme: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = served.live()
    served.pipeline.certify()
    with limiting(acme, tmp_path / "pebble") as url:
        monkeypatch.setenv("PUSHROD_ACME_SERVER", url)
        refused(served, "issues no more certificates for now: too many certificates", force=True)
    assert "issues no more certificates for now" in served.problem(sealed)


@needs_pebble
def test_an_unreachable_acme_server_is_reported(
    served: Served, acme: Pebble, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.live()
    served.pipeline.certify()
    monkeypatch.setenv("PUSHROD_ACME_SERVER", f"https://localhost:{free_port()}/dir")
    refused(served, "the ACME server cannot be reached", force=True)


@needs_pebble
def test_an_acme_server_that_refuses_the_name_is_reported(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pebble(tmp_path / "strict", served.app.settings.port, blocked=NAME) as server:
        monkeypatch.setenv("PUSHROD_ACME_SERVER", server.url)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.trust))
        served.live()
        refused(served, "the ACME server refuses: ")


def test_a_missing_certbot_is_reported(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.live()
    monkeypatch.setattr("pushrod.adapters.certbot.find", lambda: None)
    error = refused(served, "certbot is not installed")
    assert "pushrod[host]" in error.hint


@needs_pebble
def test_the_failure_of_one_app_does_not_affect_another(served: Served, acme: Pebble) -> None:
    served.live()
    other = an_app(served.root, "blog", served.app.settings.port)
    second = Served(other, served.edge, served.backend)
    second.live("blog.test", source="files")
    result = list(renewal.renew(served, [other, served.app], served.progress))  # type: ignore[arg-type]
    assert isinstance(result[0], StateError)
    assert result[0].where == "app blog: app blog"
    assert result[1][0] is served.app  # type: ignore[index]
    assert [(r.app, bool(r.ends), bool(r.problem)) for r in renewal.listed([other, served.app])] == [
        ("blog", False, True),
        ("shop", True, False),
    ]


# ---- from files -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> openssl.Pair:
    return openssl.authority("tests")


def test_a_supplied_certificate_is_served(served: Served, authority: openssl.Pair, tmp_path: Path) -> None:
    sealed = served.live("shop.example", "*.shop.example", source="files")
    with pytest.raises(StateError, match="none is stored"):
        served.pipeline.certify()
    pair = openssl.issue(authority, ["shop.example", "*.shop.example"])
    described, placed = renewal.give(served.app, served, served.progress, pair)  # type: ignore[arg-type]
    assert placed
    assert served.shown() == described.fingerprint
    trust = tmp_path / "trust.pem"
    trust.write_text(authority.chain)
    assert get(served.tls_port, trust, name="any.shop.example").body == "one"
    assert served.certificates.given.stat().st_mode & 0o777 == 0o600
    assert served.problem(sealed) == ""
    for wrong in (openssl.Pair(pair.chain, authority.key), openssl.Pair("", pair.key)):
        with pytest.raises(StateError):
            renewal.give(served.app, served, served.progress, openssl.pair(wrong.chain, wrong.key))  # type: ignore[arg-type]
    assert served.shown() == described.fingerprint


def test_serving_another_certificate_than_expected_is_detected(
    served: Served, authority: openssl.Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.live("shop.example", source="files")
    first, _ = renewal.give(served.app, served, served.progress, openssl.issue(authority, ["shop.example"]))  # type: ignore[arg-type]
    monkeypatch.setattr(Edge, "serves", lambda *_: "another")
    with pytest.raises(EdgeError, match="shows another certificate"):
        renewal.give(served.app, served, served.progress, openssl.issue(authority, ["shop.example"]))  # type: ignore[arg-type]
    monkeypatch.undo()
    assert served.shown() == first.fingerprint
    current = served.certificates.current()
    assert current and current.certificate.fingerprint == first.fingerprint


def test_the_number_of_old_certificates_is_bounded(
    served: Served, authority: openssl.Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of the edge's processes that still know them: each change waits for those of the change before."""
    waits: list[float] = []
    monkeypatch.setattr(WorkersDrain, "wait", lambda _, seconds: waits.append(seconds))
    served.live("shop.example", source="files")
    for _ in range(6):
        pair = openssl.issue(authority, ["shop.example"])
        renewal.give(served.app, served, served.progress, pair)  # type: ignore[arg-type]
    assert len(waits) == 6
    kept = [p for p in (served.edge.certificates / "shop").iterdir() if p.is_dir() and not p.is_symlink()]
    assert len(kept) <= 4
    served.certificates.remove_all()
    assert not (served.edge.certificates / "shop").exists()


# ---- this machine's own ---------------------------------------------------------------------------------------


def test_the_local_authority_issues_certificates(served: Served, tmp_path: Path) -> None:
    sealed = served.live("shop.localhost", source="local")
    first = served.pipeline.certify()
    answer = get(served.tls_port, served.certificates.authority / "chain.pem", name="shop.localhost")
    assert answer.body == "one"
    assert "Strict-Transport-Security" not in answer.headers
    assert served.pipeline.certify() == first
    assert served.pipeline.certify(force=True) != first
    assert (served.certificates.authority / "key.pem").stat().st_mode & 0o777 == 0o600
    moved = msgspec.structs.replace(sealed, tls=Encryption("acme"))
    assert served.certificates.tls(moved) is None  # nobody else trusts it
    moved = msgspec.structs.replace(sealed, tls=Encryption("off"))
    assert served.certificates.tls(moved) is None


# ---- end to end -----------------------------------------------------------------------------------------------


def test_an_app_on_the_embedded_engine_can_use_tls(machine: Machine) -> None:
    """Pushed with this machine's own authority, then with files, then without."""
    asked = yaml.safe_load(FILES["compose.yaml"])
    asked["x-pushrod"] = {"tls": {"source": "local"}}
    shop = machine.app("shop", {**FILES, "compose.yaml": yaml.safe_dump(asked)})
    port = certificates.tls_port(shop.settings["port"])
    trust = machine.root / "authority" / "chain.pem"
    assert get(port, trust, name="localhost").body == "one"
    assert shop.json("status")[0]["url"] == f"https://127.0.0.1:{port}"
    (row,) = machine.json("cert", "list")
    assert (row["app"], row["names"], row["problem"]) == ("shop", ["localhost", "*.localhost"], "")

    shown = ssl.get_server_certificate(("127.0.0.1", port))
    shop.must("restart")
    assert ssl.get_server_certificate(("127.0.0.1", port)) == shown
    shop.must("cert", "renew", "--force")
    assert ssl.get_server_certificate(("127.0.0.1", port)) != shown

    asked["x-pushrod"] = {"tls": {"source": "files"}}
    done = shop.tree.push() if shop.tree.commit({"compose.yaml": yaml.safe_dump(asked)}) else None
    assert done and done.ok
    assert "no new certificate: the manifest requires your own certificate, and none is stored" in done.err
    assert "none is stored" in shop.json("status")[0]["warnings"][0]
    refused = shop.pushrod("cert", "renew", "--all")
    assert refused.status == 11
    assert "pushrod cert set" in complaint(refused).to_do

    pair = openssl.issue(openssl.authority("tests"), ["localhost"])
    other = openssl.issue(openssl.authority("tests"), ["localhost"])
    both = machine.directory / "both.pem"
    both.write_text(pair.chain + other.key)
    refused = shop.pushrod("cert", "set", "--certificate", str(both))
    assert complaint(refused).what == "the private key does not belong to the certificate"
    done = shop.pushrod("cert", "set", "--certificate", "-", stdin=pair.chain + pair.key)
    assert done.ok and done.out.endswith("served\n"), done.err
    shown = ssl.get_server_certificate(("127.0.0.1", port))
    assert openssl.describe(shown).fingerprint == openssl.describe(pair.chain).fingerprint
    assert shop.json("status")[0]["warnings"] == []
    assert shop.must("cert", "unset") == "removed\n"
    assert shop.must("cert", "unset") == "no certificate was stored\n"

    shop.tree.commit(FILES)
    assert shop.tree.push().ok
    assert shop.get().status == 200
    assert not network.accepts(port)
    assert machine.json("cert", "list") != []

"""The edge with TLS: what a real nginx offers to which client, and which certificate it shows after a change."""

import contextlib
import http.client
import http.server
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from devtools.servers import free_port
from pushrod.adapters import nginx, openssl
from pushrod.adapters.nginx import Edge
from pushrod.adapters.openssl import Pair
from pushrod.core.errors import EdgeError
from pushrod.core.site import Site, Tls
from pushrod.system import files, network, processes, waits
from tests.integration.edges import PATIENCE, Answer, Backend, Handler, Started, an_edge, ask

pytestmark = pytest.mark.integration

NAME = "shop.example"
OLD = (
    "-tls1_1 -cipher ALL@SECLEVEL=0",
    "-tls1 -cipher ALL@SECLEVEL=0",
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
    "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256",
)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return openssl.authority("tests")


@pytest.fixture
def trust(authority: Pair, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_text(authority.chain)
    return path


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    with an_edge(tmp_path) as made:
        made.start()
        yield made


@pytest.fixture
def edge(started: Started) -> Edge:
    return started.edge


@pytest.fixture
def one() -> Iterator[Backend]:
    made = Backend("one")
    yield made
    made.shutdown()
    made.server_close()


def put(edge: Edge, pair: Pair, app: str = "shop") -> str:
    """Write a certificate where the edge looks for it; returns the name of its directory."""
    generation = openssl.describe(pair.chain).fingerprint[:16]
    place = edge.certificates / app / generation
    owner = (edge.account.uid, edge.account.gid) if edge.account else None
    files.write(place / "chain.pem", pair.chain)
    files.write(place / "key.pem", pair.key, mode=0o600, owner=owner)
    return generation


def encrypted(
    edge: Edge,
    pair: Pair,
    *backends: Backend,
    names: Sequence[str] = (NAME,),
    domains: Sequence[str] = (NAME,),
    hsts: int = 0,
) -> Site:
    """A site with TLS on a free port."""
    tls = Tls(put(edge, pair), tuple(names), free_port(), hsts)
    addresses = tuple(b.address for b in backends)
    return Site(
        app="shop",
        release=1,
        port=free_port(),
        backends=addresses,
        domains=tuple(domains),
        tls=tls,
        challenges=True,
    )


def client(trust: Path, protocols: Sequence[str] = ()) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trust))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@contextlib.contextmanager
def shake(
    port: int, context: ssl.SSLContext, name: str = NAME, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s,
        context.wrap_socket(s, server_hostname=name, session=session) as encrypted,
    ):
        yield encrypted


def get(port: int, trust: Path, path: str = "/", name: str = NAME, **headers: str) -> Answer:
    """Send a request over TLS, as a client that trusts the tests' authority."""
    with shake(port, client(trust), name) as s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.sock = s
        connection.request("GET", path, headers={"Host": name, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode("latin-1"), dict(response.headers))


def tls_of(site: Site) -> Tls:
    assert site.tls
    return site.tls


# ---- what is offered -----------------------------------------------------------------------------------------


def test_a_site_with_a_certificate_is_served_by_tls(
    edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one, hsts=600)
    edge.switch({"shop": site})
    answer = get(tls_of(site).port, trust)
    assert (answer.status, answer.body) == (200, "one")
    assert answer.headers["Strict-Transport-Security"] == "max-age=600"
    assert (
        edge.serves(site)
        == openssl.describe(
            (edge.certificates / "shop" / tls_of(site).generation / "chain.pem").read_text()
        ).fingerprint
    )
    seen = json.loads(get(tls_of(site).port, trust, "/headers").body)
    assert seen["X-Forwarded-Proto"] == "https"


def test_plain_requests_are_redirected_to_tls_except_acme_challenges(
    edge: Edge, authority: Pair, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one, hsts=600)
    edge.switch({"shop": site})
    answer = ask(site.port, "/cart?id=1", method="POST", body="x", Host=NAME)
    port = tls_of(site).port
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}:{port}/cart?id=1")
    assert "Strict-Transport-Security" not in answer.headers
    files.write(edge.challenges / ".well-known" / "acme-challenge" / "token", "proof")
    assert ask(site.port, "/.well-known/acme-challenge/token", Host=NAME).body == "proof"
    assert ask(site.port, "/.well-known/acme-challenge/other", Host=NAME).status == 404
    assert ask(site.port, "/.well-known/acme-challenge/../cart", Host=NAME).status == 308


def test_a_request_that_a_local_proxy_received_over_tls_is_not_redirected(
    edge: Edge, authority: Pair, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    assert ask(site.port, "/", Host=NAME, X_Forwarded_Proto="https").body == "one"


def test_an_hsts_header_of_the_app_takes_precedence(
    edge: Edge, authority: Pair, trust: Path, one: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_headers(self: Handler) -> None:
        self.send_header("Strict-Transport-Security", "max-age=1")
        http.server.BaseHTTPRequestHandler.end_headers(self)

    site = encrypted(edge, openssl.issue(authority, [NAME]), one, hsts=600)
    edge.switch({"shop": site})
    monkeypatch.setattr(Handler, "end_headers", end_headers)
    with shake(tls_of(site).port, client(trust)) as s:
        s.sendall(f"GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
        head = b"".join(iter(lambda: s.recv(4096), b"")).decode()
    assert re.findall("Strict-Transport-Security: (.*)\r", head) == ["max-age=1"]


def test_a_name_without_a_certificate_is_served_over_plain_http(
    edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one, domains=(NAME, "new.example"))
    edge.switch({"shop": site})
    assert ask(site.port, Host="new.example").body == "one"
    assert ask(site.port, Host=NAME).status == 308
    with pytest.raises(ssl.SSLError), shake(tls_of(site).port, client(trust), "new.example"):
        pass


@pytest.mark.parametrize("name", ["other.example", "127.0.0.1"])
def test_a_handshake_for_an_unknown_name_fails(
    name: str, edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    with (
        pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"),
        shake(tls_of(site).port, client(trust), name),
    ):
        pass


def test_protocol_versions_follow_the_profile(edge: Edge, authority: Pair, trust: Path, one: Backend) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    port = tls_of(site).port
    with shake(port, client(trust, ["h2", "http/1.1"])) as s:
        assert (s.version(), s.selected_alpn_protocol()) == ("TLSv1.3", "h2")
    context = client(trust, ["http/1.1"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with shake(port, context) as s:
        assert (s.version(), s.selected_alpn_protocol()) == ("TLSv1.2", "http/1.1")
        cipher = s.cipher()
        assert cipher and cipher[0].startswith("ECDHE-ECDSA-")
    for words in OLD:
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME]
        old = subprocess.run(
            [*argv, *words.split()], input="", capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert "alert" in old.stderr, words  # the edge's, not a refusal of this OpenSSL to ask


def test_http_2_works(edge: Edge, authority: Pair, trust: Path, one: Backend) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    port = tls_of(site).port
    argv = ["curl", "-sS", "--http2", "--cacert", str(trust), "--resolve", f"{NAME}:{port}:127.0.0.1"]
    done = processes.run([*argv, "-w", " %{http_version} %{http_code}", f"https://{NAME}:{port}/"])
    assert done.stdout == "one 2 200", done.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_also_after_a_reload(
    version: ssl.TLSVersion, edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    context = client(trust)
    context.minimum_version = context.maximum_version = version

    def session_of(before: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
        with shake(tls_of(site).port, context, session=before) as s:
            s.sendall(f"GET / HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
            assert s.recv(4096)  # TLS 1.3 sends sessions after the handshake
            return bool(s.session_reused), s.session

    new, session = session_of(None)
    assert not new
    assert session_of(session)[0]
    _, session = session_of(None)
    edge.switch({"shop": Site(**{f: getattr(site, f) for f in site.__struct_fields__} | {"release": 2})})
    assert session_of(session)[0]


# ---- from one certificate to the next ------------------------------------------------------------------------


def test_a_new_certificate_is_served_without_a_failed_request(
    edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    edge.switch({"shop": site})
    port, stop, failed, counter = tls_of(site).port, threading.Event(), [], [0]

    def go_on() -> None:
        while not stop.is_set():
            try:
                assert get(port, trust).status == 200
            except (OSError, AssertionError, http.client.HTTPException) as e:
                failed.append(e)
            counter[0] += 1

    asking = [threading.Thread(target=go_on) for _ in range(2)]
    for thread in asking:
        thread.start()
    shown = {edge.serves(site)}
    for _ in range(5):
        new = openssl.issue(authority, [NAME])
        tls = Tls(put(edge, new), (NAME,), port)
        changed = Site(**{f: getattr(site, f) for f in site.__struct_fields__} | {"tls": tls})
        assert edge.switch({"shop": changed}).reloaded
        assert edge.serves(changed) == openssl.describe(new.chain).fingerprint
        shown.add(edge.serves(changed))
    stop.set()
    for thread in asking:
        thread.join(PATIENCE)
    assert not failed
    assert len(shown) == 6
    assert counter[0] > 20


def test_an_unusable_certificate_is_refused_and_the_old_one_kept(
    edge: Edge, authority: Pair, trust: Path, one: Backend
) -> None:
    good, other = (openssl.issue(authority, [NAME]) for _ in range(2))
    site = encrypted(edge, good, one)
    edge.switch({"shop": site})
    mixed = Tls(put(edge, Pair(other.chain, good.key)), (NAME,), tls_of(site).port)
    broken = Site(**{f: getattr(site, f) for f in site.__struct_fields__} | {"tls": mixed})
    with pytest.raises(EdgeError, match="key values mismatch"):
        edge.switch({"shop": broken})
    assert edge.serves(site) == openssl.describe(good.chain).fingerprint
    assert get(tls_of(site).port, trust).status == 200


def test_without_a_certificate_no_tls_port_is_open(edge: Edge, authority: Pair, one: Backend) -> None:
    site = encrypted(edge, openssl.issue(authority, [NAME]), one)
    plain = Site(**{f: getattr(site, f) for f in site.__struct_fields__} | {"tls": None})
    edge.switch({"shop": plain})
    assert "ssl" not in "".join(edge._generations.read(edge._generation).values())
    edge.switch({"shop": site})
    assert network.accepts(tls_of(site).port)
    edge.switch({"shop": plain})
    assert waits.wait_until(lambda: not network.accepts(tls_of(site).port), PATIENCE)


def test_tls_is_served_at_every_address(tmp_path: Path, authority: Pair, trust: Path, one: Backend) -> None:
    with an_edge(tmp_path, addresses=nginx.everywhere(), port=free_port()) as made:
        made.start()
        site = encrypted(made.edge, openssl.issue(authority, [NAME]), one)
        made.edge.switch({"shop": site})
        assert made.edge.serves(site)
        assert get(tls_of(site).port, trust).body == "one"

"""The page of a host in a real browser: at its domain behind the edge, with a certificate of an ACME server in the
box and a passkey; what an attacker gets there; and a server that reboots under it."""

import base64
import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, Page, expect, sync_playwright

from devtools.apps import eventually
from devtools.lab.ground import Ground, Shop
from devtools.servers import free_port
from devtools.shop_page import CHROMIUM, DESKTOP, FLAGS, PATIENCE
from tests.lab import pebble

pytestmark = [
    pytest.mark.long,
    pytest.mark.lab,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine (Debian: chromium)"),
]

NAME = "page.test"
ORIGIN = f"https://{NAME}"
LONG = 60_000  # milliseconds for a page that systemd starts


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app on a host whose page is at a domain."""
    shop = ground.shop_with(["one"])
    pebble.run(shop.box)
    shop.box.put("/etc/systemd/system/pushrod-renew.service.d/test.conf", pebble.DROP_IN)
    shop.box.exec("systemctl", "daemon-reload")
    given = (f"PUSHROD_ACME_SERVER={pebble.DIRECTORY}", f"REQUESTS_CA_BUNDLE={pebble.TRUST}")
    done = shop.box.exec("env", *given, "pushrod", "host", "web", "on", "--domain", NAME)
    assert f"and at {ORIGIN}" in done.stdout
    return shop


def certificate(shop: Shop, name: str = NAME) -> bytes:
    """The certificate shown to a client that asks for a name; empty if the handshake fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection((shop.box.address, 443), timeout=10) as s,
        context.wrap_socket(s, server_hostname=name) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""
    return b""


class Answer:
    """An answer over TLS."""

    def __init__(self, shop: Shop, method: str, path: str, body: str = "", **headers: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPConnection(shop.box.address, 443, timeout=30)
        connection.sock = context.wrap_socket(
            socket.create_connection((shop.box.address, 443), timeout=30), server_hostname=NAME
        )
        given = {"Host": NAME} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            given |= {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, path, body or None, given)
        response = connection.getresponse()
        self.status, self.headers = response.status, response.headers
        self.text = response.read().decode()
        connection.close()


def invited(shop: Shop, name: str, role: str = "viewer") -> str:
    """A link."""
    return shop.ground.pushrod("web", "invite", name, "--role", role).stdout.strip()


@pytest.fixture(scope="module")
def browser(shop: Shop) -> Iterator[Browser]:
    """A browser that finds the box by the page's name, and trusts its certificate as that of a public authority."""
    key = x509.load_der_x509_certificate(certificate(shop)).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    flags = (
        *FLAGS,
        f"--host-resolver-rules=MAP {NAME} {shop.box.address}",
        f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}",
    )
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=list(flags))
        expect.set_options(timeout=PATIENCE)
        yield made
        made.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    """A browser's page with a device that has passkeys, whose person is always there."""
    context = browser.new_context(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
    context.set_default_timeout(LONG)
    made = context.new_page()
    devices = context.new_cdp_session(made)
    devices.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return made


def test_it_answers_with_tls_alone_and_tells_browsers_so(shop: Shop) -> None:
    plain = shop.box.get_page("/enter", NAME)
    assert (plain.status, plain.headers["location"]) == (308, f"{ORIGIN}/enter")
    answer = Answer(shop, "GET", "/enter")
    assert answer.status == 200
    assert answer.headers["strict-transport-security"] == "max-age=15768000"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-encoding"] is None
    assert Answer(shop, "GET", "/").status == 401
    entered = Answer(
        shop, "POST", "/enter", f"link={invited(shop, 'flags').partition('=')[2]}", Origin=ORIGIN
    )
    cookie = entered.headers["set-cookie"]
    assert re.fullmatch(r"__Host-pushrod=[\w-]{43}; Path=/; .*HttpOnly; SameSite=Strict; Secure", cookie)
    (row,) = [
        line for line in shop.ground.pushrod("doctor").stdout.splitlines() if f"the page at {NAME}" in line
    ]
    assert "certificate until" in row


def test_its_certificate_is_renewed_with_those_of_apps(shop: Shop) -> None:
    before = certificate(shop)
    shop.box.exec("systemctl", "start", "pushrod-renew.service")
    assert certificate(shop) == before  # it is not due
    assert "the page: certificate until" in shop.box.journal(40, "--unit=pushrod-renew")
    argv = ("systemd-run", "--wait", "--pipe", "--collect", "--uid=pushrod", "--gid=pushrod")
    variables = (
        f"--setenv=PUSHROD_ACME_SERVER={pebble.DIRECTORY}",
        f"--setenv=REQUESTS_CA_BUNDLE={pebble.TRUST}",
    )
    words = ("pushrod", "--root", "/var/lib/pushrod", "cert", "renew", "--all", "--force")
    rights = "--property=AmbientCapabilities=CAP_NET_BIND_SERVICE"
    shop.box.exec(*argv, rights, *variables, *words)
    assert certificate(shop) not in (b"", before)


def test_a_person_adds_a_passkey_and_logs_in_with_it(shop: Shop, page: Page) -> None:
    link = invited(shop, "anna", "owner")
    assert link.startswith(f"{ORIGIN}/enter?link=")
    page.goto(link)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Apps")).to_be_visible()
    page.get_by_role("link", name="Passkeys").click()
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_role("button", name="Remove")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{ORIGIN}/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page.get_by_text("anna owner")).to_be_visible()
    page.get_by_role("link", name="shop").first.click()
    expect(page.locator(".title .badge")).to_have_text("live")


def test_what_its_owner_does_there_is_done_and_recorded(shop: Shop, page: Page) -> None:
    page.goto(f"{ORIGIN}/apps/shop/do/maintenance-on")
    page.get_by_role("button", name=re.compile("maintenance")).click()
    expect(page.locator("main .card .badge")).to_have_text("done", timeout=LONG)
    assert shop.get().status == 503
    page.goto(f"{ORIGIN}/apps/shop/do/maintenance-off")
    page.get_by_role("main").get_by_role("button").click()
    expect(page.locator("main .card .badge")).to_have_text("done", timeout=LONG)
    assert shop.get().status == 200
    assert "anna" in shop.ground.pushrod("audit", "--app", "shop").stdout


def test_another_name_and_a_forged_cookie_reach_nothing(shop: Shop) -> None:
    assert certificate(shop)
    for name in ("other.test", "shop.localhost", ""):
        assert certificate(shop, name or shop.box.address) == b"", name
    for host in ("other.test", f"{NAME}.other.test", "shop.localhost", "0123456789abcdef.pushrod.localhost"):
        answer = Answer(shop, "GET", "/enter", Host=host)
        assert answer.status in (404, 421), host
        assert "Log in" not in answer.text
    for cookie in (
        "__Host-pushrod=" + "A" * 43,
        "pushrod=" + "A" * 43,
        "__Host-pushrod=",
        "__Host-pushrod={}",
    ):
        assert Answer(shop, "GET", "/apps/shop", Cookie=cookie).status == 401, cookie
    token = invited(shop, "forged").partition("=")[2]
    for origin in ("https://other.test", f"http://{NAME}", "null", f"{ORIGIN}:443", f"{ORIGIN}.other.test"):
        answer = Answer(shop, "POST", "/enter", f"link={token}", Origin=origin)
        assert (answer.status, answer.headers["set-cookie"]) == (403, None), origin
    local = (
        "curl",
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        "http://127.0.0.1:9181/enter",
    )
    for headers in (
        ("--header", f"Host: {NAME}"),
        ("--header", f"Host: {NAME}", "--header", "X-Forwarded-Proto: https"),
    ):
        assert shop.box.exec(*local, *headers).stdout == "421"
    refused = shop.box.exec(
        *("curl", "--silent", "--unix-socket", "/run/pushrod/web", f"http://{NAME}/enter"),
        user="nobody",
        check=False,
    )
    assert refused.status != 0


def test_guesses_are_limited_at_the_edge(shop: Shop) -> None:
    """Whatever a client claims to be, and even if nobody counted behind the edge."""
    statuses = []
    for number in range(40):
        claimed = {"X_Real_IP": f"203.0.113.{number}", "X_Forwarded_For": f"203.0.113.{number}"}
        guess = f"link={'A' * 42}{chr(ord('A') + number % 26)}"
        statuses.append(Answer(shop, "POST", "/enter", guess, Origin=ORIGIN, **claimed).status)
    print(statuses)
    assert set(statuses) == {403, 429}
    assert statuses.count(403) <= 12
    log = shop.box.get("/var/lib/pushrod/edge/logs/error.log").decode()
    assert "limiting requests, excess" in log and 'zone "enters_page"' in log
    other = ("curl", "--silent", "--insecure", "--resolve", f"{NAME}:443:{shop.box.address}")
    asked = (*other, "--header", f"Origin: {ORIGIN}", "--data", f"link={'A' * 43}")
    code = shop.box.exec(*asked, "--output", "/dev/null", "--write-out", "%{http_code}", f"{ORIGIN}/enter")
    assert code.stdout == "403"  # another address is not kept out
    assert Answer(shop, "GET", "/enter").status == 200


@contextlib.contextmanager
def tunnel(shop: Shop, port: int) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`pushrod web --on`, and the link that it prints."""
    argv = [
        sys.executable,
        "-m",
        "pushrod",
        "web",
        "--on",
        f"root@{shop.box.address}",
        "--port",
        str(port),
        "--no-browser",
    ]
    env = {**os.environ, "GIT_SSH_COMMAND": " ".join(shop.box.ssh_command())}
    child = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait(30)


def test_a_server_reboots_under_the_page(shop: Shop, browser: Browser, page: Page) -> None:
    port = free_port()
    with tunnel(shop, port) as (child, link):
        own = browser.new_page()
        own.set_default_timeout(LONG)
        own.goto(link)
        own.get_by_role("button", name="Log in").click()
        own.goto(f"{link.partition('/enter')[0]}/apps/shop/live")
        expect(own.locator("#stream-state")).to_have_text("following", timeout=LONG)
        page.goto(f"{ORIGIN}/apps/shop/live")
        expect(page.locator("#stream-state")).to_have_text("following", timeout=LONG)
        shop.box.reboot()
        _, text = child.communicate(timeout=60)
        assert child.returncode not in (0, None)
        assert "has ended" in text
        expect(own.locator("#stream-state")).to_have_text("connection lost; trying again", timeout=LONG)
    shop.back(shop.live, "after the reboot")
    expect(page.locator("#stream-state")).to_have_text("following", timeout=LONG)  # by itself
    page.goto(f"{ORIGIN}/apps/shop")
    expect(page.locator(".title .badge")).to_have_text("live", timeout=LONG)
    with tunnel(shop, port):
        expect(own.locator("#stream-state")).to_have_text("following", timeout=LONG)
        own.get_by_role("link", name="shop").first.click()
        expect(own.locator(".title .badge")).to_have_text("live", timeout=LONG)
    own.close()


def test_without_its_domain_nothing_is_left_of_it(shop: Shop) -> None:
    shop.ground.pushrod("host", "web", "on", "--no-domain")
    eventually(lambda: certificate(shop) == b"", "port 443 is silent", 60)
    assert shop.box.get_page("/enter", NAME).status == 404
    assert shop.box.exec("ls", "/var/lib/pushrod/edge/certificates").stdout == ""
    assert shop.get().status == 200

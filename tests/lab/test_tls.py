"""Certificates on a Docker host, through the timer's service, from an ACME server in the box."""

import json
import socket
import ssl

import pytest

from devtools.apps import eventually
from devtools.lab.ground import Ground, Shop, files
from tests.lab import pebble

pytestmark = pytest.mark.lab

NAME = "shop.test"


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    """An app with a name that pebble in the same box resolves; its push found no ACME server."""
    pebble.run(ground.box)
    tree = files(NAME)
    tree["compose.yaml"] = tree["compose.yaml"].replace("keep: 3", "keep: 3, tls: {source: acme}")
    app = ground.app("shop", tree)
    app.domain = NAME
    return app


def run_unit(shop: Shop) -> str:
    """Run the timer's service once to its end; returns systemd's result."""
    shop.box.exec("systemctl", "start", "pushrod-renew.service", check=False)
    show = ("systemctl", "show", "--value", "--property=Result", "pushrod-renew.service")
    return shop.box.exec(*show).stdout.strip()


def shown(shop: Shop, name: str = NAME) -> bytes:
    """The certificate shown to a client elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((shop.box.address, 443), timeout=10) as s,
        context.wrap_socket(s, server_hostname=name) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""


def test_a_first_push_is_live_without_its_certificate(shop: Shop) -> None:
    pushed = shop.push()
    assert pushed.ok, pushed.err
    assert "no new certificate: " in pushed.err
    assert shop.state()["release"] == 1
    (result,) = json.loads(shop.ssh("status", "--json").stdout)
    assert result["url"] == f"http://{NAME}"
    assert result["warnings"][0].startswith(f"no certificate for {NAME}: the ACME server")


def test_a_failed_renewal_fails_only_the_unit(shop: Shop) -> None:
    assert run_unit(shop) == "exit-code"
    assert shop.state()["release"] == 1


def test_the_renewal_service_obtains_and_keeps_the_certificate(shop: Shop) -> None:
    shop.box.exec("systemctl", "is-active", "pushrod-renew.timer")
    shop.box.put("/etc/systemd/system/pushrod-renew.service.d/test.conf", pebble.DROP_IN)
    shop.box.exec("systemctl", "daemon-reload")

    def got() -> bool:  # not while another command works on the app
        assert run_unit(shop) == "success", shop.box.journal(40, "--unit=pushrod-renew")
        (row,) = json.loads(shop.ssh("cert", "list", "--json").stdout)
        return bool(row["ends"] and not row["problem"])

    eventually(got, "there is a certificate", 90)
    first = shown(shop)
    assert shop.get().status == 308
    (result,) = json.loads(shop.ssh("status", "--json").stdout)
    assert (result["url"], result["warnings"]) == (f"https://{NAME}", [])
    assert run_unit(shop) == "success"
    assert shown(shop) == first
    with pytest.raises(ssl.SSLError):
        shown(shop, "other.test")
    place = "/var/lib/pushrod/edge/certificates/shop/current/key.pem"
    assert shop.box.exec("stat", "--format=%a %U", place).stdout.strip() == "600 pushrod"


def test_the_certificate_outlives_a_release_and_a_reboot(shop: Shop) -> None:
    first = shown(shop)
    assert shop.ssh("restart").status == 0
    assert shown(shop) == first
    shop.box.reboot()
    eventually(lambda: _same(shop, first), "the same certificate is shown", 90)


def _same(shop: Shop, first: bytes) -> bool:
    try:
        return shown(shop) == first
    except OSError:
        return False


def test_the_renewal_service_is_sandboxed(shop: Shop) -> None:
    output = shop.box.exec("systemd-analyze", "security", "--no-pager", "pushrod-renew.service").stdout
    exposure = float(output.rsplit("pushrod-renew.service: ", 1)[1].split()[0])
    print(f"exposure {exposure}")
    assert exposure <= 3.0
    assert not shop.box.exec("systemd-analyze", "verify", "/etc/systemd/system/pushrod-renew.service").stderr

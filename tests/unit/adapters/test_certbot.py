"""The arguments of certbot, and the handling of its failures."""

from pathlib import Path

import pytest

from pushrod.adapters import certbot
from pushrod.adapters.certbot import Request
from pushrod.core.errors import HostError

WEBROOT = Path("/srv/edge/acme")
PLACE = Path("/srv/certbot")


def argv(**changes: object) -> str:
    request = Request("shop", ("shop.org", "www.shop.org"))._replace(**changes)  # type: ignore[arg-type]
    return " ".join(certbot._argv(request, PLACE, WEBROOT))


def test_certbot_runs_without_root_and_without_questions() -> None:
    assert argv() == (
        "certonly --non-interactive --agree-tos --register-unsafely-without-email "
        "--server https://acme-v02.api.letsencrypt.org/directory --webroot --webroot-path /srv/edge/acme "
        "--key-type ecdsa --no-directory-hooks --config-dir /srv/certbot/config --work-dir /srv/certbot/work "
        "--logs-dir /srv/certbot/logs --max-log-backups 10 --cert-name shop --renew-with-new-domains "
        "--keep-until-expiring -d shop.org -d www.shop.org"
    )


def test_an_email_address_and_force_are_passed_to_certbot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHROD_ACME_SERVER", "https://localhost:14000/dir")
    text = argv(email="ops@shop.org", force=True)
    assert "--email ops@shop.org --server https://localhost:14000/dir" in text
    assert "--force-renewal" in text
    assert "--keep-until-expiring" not in text


PREFIX = "acme.messages.Error: urn:ietf:params:acme:error:"


@pytest.mark.parametrize(
    ("output", "logged", "what"),
    [
        (
            "",
            f"{PREFIX}rateLimited :: There were too many requests of a given type :: too many certificates",
            "the ACME server issues no more certificates for now: too many certificates",
        ),
        (
            "  Domain: shop.org\n  Type:   dns\n  Detail: DNS problem: NXDOMAIN looking up A for shop.org\n",
            "",
            "the ACME server could not prove the names: DNS problem: NXDOMAIN looking up A for shop.org",
        ),
        (
            "AttributeError: can't set attribute",
            f"{PREFIX}badNonce :: The client sent an unacceptable anti-replay nonce :: no\n"
            f"{PREFIX}rejectedIdentifier :: The server will not issue for the identifier :: blocked name",
            "the ACME server refuses: blocked name",
        ),
        (
            f"{PREFIX}badNonce :: unacceptable :: no",
            f"{PREFIX}badNonce :: a b :: no",
            "the ACME server refuses: no",
        ),
        ("requests.exceptions.ConnectionError: x", "", "the ACME server cannot be reached"),
        ("something else", "", "certbot failed"),
    ],
    ids=["limit", "proof", "hidden by certbot itself", "nonce", "unreachable", "other"],
)
def test_a_failure_is_one_sentence(output: str, logged: str, what: str, tmp_path: Path) -> None:
    log = tmp_path / "letsencrypt.log"
    log.write_text(logged)
    error = certbot._refused(output, log)
    assert (error.what, bool(error.hint)) == (what, True)


def test_a_missing_certbot_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(HostError, match="certbot is not installed") as caught:
        certbot.obtain(Request("shop", ("shop.org",)), tmp_path, tmp_path)
    assert "pushrod[host]" in caught.value.hint


def test_deleting_a_certificate_leaves_no_files(tmp_path: Path) -> None:
    for name in ("live/shop/x", "archive/shop/x", "renewal/shop.conf", "live/blog/x"):
        path = tmp_path / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    certbot.delete("shop", tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "config/live/blog/x"
    ]

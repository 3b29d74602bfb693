"""The content of certificates, and which ones are refused, each with one message."""

import base64
import datetime
import subprocess
from pathlib import Path

import pytest

from pushrod.adapters import openssl
from pushrod.adapters.openssl import Pair
from pushrod.core.errors import PushrodError, StateError


@pytest.fixture(scope="module")
def authority() -> Pair:
    return openssl.authority("tests")


@pytest.fixture(scope="module")
def good(authority: Pair) -> Pair:
    return openssl.issue(authority, ["shop.example", "*.shop.example"], ["127.0.0.1"])


def made(directory: Path, begins: str, ends: str, *words: str) -> Pair:
    """A self-signed certificate that is valid between two times, which only `openssl ca` supports."""
    (directory / "index").write_text("")
    (directory / "serial").write_text("01\n")
    (directory / "ca.cnf").write_text(
        "[ca]\ndefault_ca = own\n[own]\n"
        f"new_certs_dir = {directory}\ndatabase = {directory}/index\nserial = {directory}/serial\n"
        "default_md = sha256\npolicy = any\ncopy_extensions = copy\n[any]\ncommonName = supplied\n"
    )
    key, request, out = directory / "key", directory / "request", directory / "out"
    new = [
        "req",
        "-new",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=shop",
    ]
    run(*new, *words, "-keyout", str(key), "-out", str(request))
    signing = ["-selfsign", "-keyfile", str(key), "-in", str(request), "-out", str(out), "-notext", "-batch"]
    run("ca", "-config", str(directory / "ca.cnf"), "-startdate", begins, "-enddate", ends, *signing)
    return Pair(out.read_text(), key.read_text())


def run(*argv: str) -> None:
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


NAMED = ("-addext", "subjectAltName=DNS:shop.example")


@pytest.mark.slow
def test_a_certificate_has_names_times_and_an_issuer(good: Pair) -> None:
    result = openssl.check(good)
    assert result.names == ("shop.example", "*.shop.example")
    assert "tests" in result.issuer
    assert 396 * 86400 < result.left <= result.lifetime == 397 * 86400
    assert result.begun
    assert datetime.datetime.fromisoformat(result.ends).tzinfo is not None
    assert len(result.fingerprint) == 64


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("shop.example", True),
        ("www.shop.example", True),
        ("*.shop.example", True),
        ("a.b.shop.example", False),
        ("example", False),
        ("other.example", False),
    ],
)
def test_a_wildcard_covers_one_label(good: Pair, name: str, covered: bool) -> None:
    assert openssl.describe(good.chain).covers(name) == covered


def test_the_chain_holds_the_authority_and_verifies(good: Pair, authority: Pair, tmp_path: Path) -> None:
    assert good.chain.endswith(authority.chain)
    (tmp_path / "authority").write_text(authority.chain)
    (tmp_path / "chain").write_text(good.chain)
    run("verify", "-x509_strict", "-CAfile", str(tmp_path / "authority"), str(tmp_path / "chain"))


def test_a_pair_is_found_in_one_file_or_two_in_any_order(good: Pair) -> None:
    assert openssl.pair(good.key + "words between\n" + good.chain) == good
    assert openssl.pair(good.chain, good.key) == good


@pytest.mark.parametrize(
    "texts", [(), ("no PEM",), ("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----",)]
)
def test_a_file_without_a_certificate_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(StateError, match="there is no certificate"):
        openssl.pair(*texts)


def test_no_key_and_two_keys_are_refused(good: Pair, authority: Pair) -> None:
    with pytest.raises(StateError, match="there are no private keys"):
        openssl.pair(good.chain)
    with pytest.raises(StateError, match="there are 2 private keys"):
        openssl.pair(good.chain, good.key, authority.key)


def refused(pair: Pair) -> PushrodError:
    with pytest.raises(StateError) as caught:
        openssl.check(pair)
    assert caught.value.hint
    return caught.value


@pytest.mark.slow
def test_a_key_of_another_certificate_is_refused(good: Pair, authority: Pair) -> None:
    assert (
        refused(Pair(good.chain, authority.key)).what == "the private key does not belong to the certificate"
    )


@pytest.mark.slow
def test_damaged_pem_is_refused(good: Pair) -> None:
    broken = "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"
    assert refused(Pair(broken, good.key)).what == "the certificate cannot be read"
    broken = "-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----\n"
    assert "the private key cannot be read" in refused(Pair(good.chain, broken)).what


@pytest.mark.slow
def test_a_key_with_a_passphrase_is_refused(good: Pair, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(good.key)
    run(
        "pkey",
        "-in",
        str(tmp_path / "plain"),
        "-aes128",
        "-passout",
        "pass:x",
        "-out",
        str(tmp_path / "locked"),
    )
    assert "has a passphrase" in refused(Pair(good.chain, (tmp_path / "locked").read_text())).what


@pytest.mark.slow
def test_an_expired_certificate_is_refused(tmp_path: Path) -> None:
    error = refused(made(tmp_path, "20200101000000Z", "20210101000000Z", *NAMED))
    assert error.what == "the certificate expired on 2021-01-01"


@pytest.mark.slow
def test_a_certificate_that_is_not_yet_valid_is_refused(tmp_path: Path) -> None:
    error = refused(made(tmp_path, "20900101063000Z", "20910101000000Z", *NAMED))
    assert error.what == "the certificate is not valid before 2090-01-01 06:30 UTC"


@pytest.mark.slow
def test_a_certificate_without_names_is_refused(tmp_path: Path) -> None:
    assert "has no names" in refused(made(tmp_path, "20200101000000Z", "20900101000000Z")).what


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return b"\x02\x82" + len(raw).to_bytes(2, "big") + raw


def crafted(bits: int, longest: int) -> str:
    """An RSA key whose factors are not primes. OpenSSL signs with it: with 16,384 bits that takes 8 s."""
    p, q = (1 << bits // 2) - 1, (1 << bits // 2) - 3
    numbers = (0, p * q, 65537, (1 << longest) + 1, p, q, 5, 7, 11)
    body = b"".join(map(number, numbers))
    der = b"\x30\x82" + len(body).to_bytes(2, "big") + body
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{text}-----END RSA PRIVATE KEY-----\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "longest", "why"),
    [(8192, 16, "take too long: 8192 bits"), (2048, 50_000, "take too long"), (2048, 2040, "is not valid")],
)
def test_a_key_with_slow_signatures_is_refused(tmp_path: Path, bits: int, longest: int, why: str) -> None:
    (tmp_path / "key").write_text(crafted(bits, longest))
    argv = ("req", "-x509", "-key", str(tmp_path / "key"), "-subj", "/CN=x", "-days", "9")
    run(*argv, "-addext", "subjectAltName=DNS:shop.localhost", "-out", str(tmp_path / "chain"))
    assert why in refused(Pair((tmp_path / "chain").read_text(), (tmp_path / "key").read_text())).what


@pytest.mark.slow
def test_an_uncommon_curve_and_a_long_chain_are_refused(tmp_path: Path, good: Pair) -> None:
    argv = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:sect571r1", "-nodes")
    options = ("-subj", "/CN=x", "-days", "9", "-addext", "subjectAltName=DNS:shop.localhost")
    run(*argv, *options, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "chain"))
    result = Pair((tmp_path / "chain").read_text(), (tmp_path / "key").read_text())
    assert "take too long" in refused(result).what
    assert "comes with" in refused(Pair(good.chain * 9, good.key)).what


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [("rsa:2048",), ("ed25519",), ("ec", "-pkeyopt", "ec_paramgen_curve:secp384r1")]
)
def test_a_common_key_is_accepted(tmp_path: Path, kind: tuple[str, ...]) -> None:
    argv = ("req", "-x509", "-newkey", *kind, "-nodes", "-subj", "/CN=x", "-days", "9")
    names = ("-addext", "subjectAltName=DNS:shop.localhost")
    run(*argv, *names, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "chain"))
    result = Pair((tmp_path / "chain").read_text(), (tmp_path / "key").read_text())
    assert openssl.check(result).names == ("shop.localhost",)

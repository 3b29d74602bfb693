"""Private keys in the texts that people commit. No sample stands here whole."""

import base64
import random
import string

import pytest

from pushrod.releases import private_keys, secret_scan

_ALPHABET = string.ascii_letters + string.digits + "+/"
_BODY = ["".join(random.choices(_ALPHABET, k=64)) for _ in range(16)]
_LINES = ["-----BEGIN" + " PRIVATE KEY-----", *_BODY, "-----END" + " PRIVATE KEY-----"]
_PEM = "\n".join(_LINES) + "\n"
_CERTIFICATE = _PEM.replace("PRIVATE KEY", "CERTIFICATE")


def kinds(text: str) -> list[str]:
    return [kind for kind, *_ in secret_scan.scan(text.encode())]


@pytest.mark.parametrize(
    "text",
    [
        _PEM,
        "".join(f"-{line}\n" for line in _LINES),
        "".join(f"{line}<br>\n" for line in _LINES),
        "&#10;".join(_LINES),
        "".join(f"{number:4}  {line}\n" for number, line in enumerate(_LINES, 1)),
        "".join(f"{number}: {line}\n" for number, line in enumerate(_LINES, 1)),
    ],
    ids=["PEM", "removed in a diff", "HTML", "XML", "listing", "listing with colons"],
)  # fmt: skip
def test_a_key_is_found_whatever_surrounds_its_lines(text: str) -> None:
    assert private_keys.begins(text.split("\n"), 0)
    assert kinds(text) == ["Private Key"]


@pytest.mark.parametrize(
    "text",
    [
        f"tls.key: {base64.b64encode(_PEM.encode()).decode()}\n",
        "tls.key: |\n  " + base64.encodebytes(_PEM.encode()).decode().replace("\n", "\n  "),
        f"pem: {base64.b64encode((_CERTIFICATE + _PEM).encode()).decode()}\n",
    ],
    ids=["one line", "several lines", "behind a certificate"],
)
def test_a_key_in_base64_is_found(text: str) -> None:
    assert kinds(text) == ["Private Key"]
    first, _, rest = text.partition("\n")
    assert kinds(f"{first}  # pragma: allowlist " + f"secret\n{rest}") == [] or "|" in first


@pytest.mark.parametrize(
    "text",
    [
        f"tls.crt: {base64.b64encode(_CERTIFICATE.encode()).decode()}\n",
        "tls.key: " + private_keys.ENCODED + "…\n",
        "tls.key: " + private_keys.ENCODED + "\n",
        "1. " + _LINES[0] + "\n2. your key\n3. " + _LINES[-1],
    ],
    ids=["certificate", "cut", "its beginning alone", "list"],
)
def test_a_text_without_a_key_is_passed(text: str) -> None:
    assert kinds(text) == []

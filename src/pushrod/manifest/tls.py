"""`x-pushrod.tls`: where an app's certificate comes from. Pure."""

import re
from collections.abc import Sequence

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.traits import BY_NAME
from pushrod.core.values import Encryption, EngineName
from pushrod.manifest.document import Key

_PRIVATE = lazy(
    r"(?:.+\.)?(?:test|example|invalid|localhost|local|internal|onion|home\.arpa|example\.(?:com|net|org))"
)
"""Names that nobody can own (RFC 2606, 6761, 6762, 7686, 8375; ICANN for `internal`), so no authority certifies
them."""


def read(key: Key, domains: Sequence[str], engine: EngineName) -> Encryption:
    """The source and its settings. The default is ACME on a Docker host if the app has a name that a public
    authority can certify, otherwise none.

    Raises ManifestError for a source that cannot do what is asked.
    """
    key.only("email", "hsts", "source")
    source_key = key.get("source")
    if source_key.value is False:  # YAML 1.1 reads `off` as false
        source_key = source_key._replace(value="off")
    source = source_key.choice("acme", "local", "files", "off")
    if BY_NAME[engine].by_domain and source not in ("", "off") and not domains:
        raise ManifestError(
            "a certificate needs names, and the app has none",
            where=source_key.path,
            hint="name them: x-pushrod: {domains: [shop.example.com]}",
        )
    if source == "acme":
        _check_acme(source_key, domains)
    usual = "acme" if BY_NAME[engine].hosted and any(map(is_public, domains)) else "off"
    if source == "acme" and not BY_NAME[engine].hosted:
        source = "off"
    fields = {
        "source": source or usual,
        "email": _email(key.get("email")),
        "hsts": key.get("hsts").whole(Encryption().hsts),
    }
    return msgspec.convert(fields, Encryption)


def is_public(name: str) -> bool:
    """Whether a public authority could certify a name by a request to its web server: it is neither a wildcard (RFC
    8555,
    8.3) nor private to a network."""
    return "." in name and not name.startswith("*.") and not _PRIVATE.fullmatch(name)


def _check_acme(source: Key, domains: Sequence[str]) -> None:
    for name in domains:
        if name.startswith("*.") or name == "localhost" or name.endswith(".localhost"):
            raise ManifestError(
                f"ACME cannot certify `{name}`: a web server cannot prove it",
                where=source.path,
                hint="use `local` for this machine only, or your own certificate: `files`, and `pushrod cert set`",
            )


def _email(key: Key) -> str:
    if key.given and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", key.text()):
        key.wrong("an address such as you@example.com")
    return key.text()

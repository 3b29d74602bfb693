"""OpenSSL's program: describe a certificate, check its key, and run an authority of this machine's own.

Every Debian and Ubuntu with `ca-certificates` has it. Keys and certificates are PEM.
"""

import contextlib
import datetime
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pushrod.core.errors import HostError, StateError
from pushrod.core.patterns import lazy
from pushrod.core.times import to_the_minute
from pushrod.core.values import Value
from pushrod.system import files, processes

_BLOCK = lazy(r"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.+?-----END \1-----", re.DOTALL)
_TIMEOUT = 30.0  # seconds for one call; an elliptic-curve key takes milliseconds
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
_AUTHORITY_DAYS = 3650
_RSA = 4096  # bits: 7 ms for a signature, four times as many as with half of them
_CURVES = "prime256v1|secp384r1|secp521r1"
_KEY_SIZE = 8 << 10  # characters of a private key; 3.2 thousand are one of 4096 bits
_CHAIN, _CHAIN_SIZE = 10, 64 << 10  # certificates, and characters of all of them
_DAYS = (
    # within the 398 days that public authorities were limited to until 2026, so that every client accepts it
    397
)


class Pair(Value, frozen=True):
    """A certificate with its intermediate ones, and its private key."""

    chain: str
    key: str


class Described(Value, frozen=True):
    """A certificate's data: its names, its validity (ISO 8601, UTC), its issuer, its SHA-256."""

    names: tuple[str, ...]
    begins: str
    ends: str
    issuer: str
    fingerprint: str

    @property
    def left(self) -> float:
        """Seconds until it ends; negative after that."""
        return (datetime.datetime.fromisoformat(self.ends) - _now()).total_seconds()

    @property
    def lifetime(self) -> float:
        """Seconds from its beginning to its end."""
        begins, ends = map(datetime.datetime.fromisoformat, (self.begins, self.ends))
        return (ends - begins).total_seconds()

    @property
    def begun(self) -> bool:
        """Whether it is valid already."""
        return datetime.datetime.fromisoformat(self.begins) <= _now()

    def covers(self, name: str) -> bool:
        """Whether it covers a name: literally, or by a wildcard for its first label (RFC 9525, 6.3)."""
        return name in self.names or f"*.{name.partition('.')[2]}" in self.names


def pair(*texts: str) -> Pair:
    """The certificates and the one private key in some PEM texts. Raises StateError if something is missing."""
    blocks = [block for text in texts for block in _BLOCK.finditer(text)]
    chain = [b[0] for b in blocks if b[1] == "CERTIFICATE"]
    keys = [b[0] for b in blocks if b[1].endswith("PRIVATE KEY")]
    if not chain or len(keys) != 1:
        what = "there is no certificate" if not chain else f"there are {len(keys) or 'no'} private keys"
        raise StateError(
            f"{what}, expected a certificate with its intermediate ones and one private key",
            hint="give PEM files: they begin with -----BEGIN CERTIFICATE----- and -----BEGIN PRIVATE KEY-----",
        )
    return Pair("\n".join([*chain, ""]), f"{keys[0]}\n")


def describe(chain: str) -> Described:
    """The data of the first certificate of a chain. Raises StateError if it cannot be read."""
    import hashlib
    import ssl

    argv = ("x509", "-noout", "-startdate", "-enddate", "-issuer", "-ext", "subjectAltName")
    output = _openssl(*argv, stdin=chain, wrong="the certificate cannot be read")
    first = _BLOCK.search(chain)
    der = ssl.PEM_cert_to_DER_cert(first[0]) if first else b""
    dates = dict(re.findall(r"^not(Before|After)=(.+)$", output, re.MULTILINE))
    issuer = re.search(r"^issuer=(.*)$", output, re.MULTILINE)
    return Described(
        names=tuple(name.lower() for name in re.findall(r"DNS:([^,\s]+)", output)),
        begins=_iso(dates["Before"]),
        ends=_iso(dates["After"]),
        issuer=issuer[1].strip() if issuer else "",
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def match(given: Pair) -> Described:
    """The data of a certificate. Raises StateError, with a message for each case: it or its key cannot be read; the
    key has a passphrase, or belongs to another certificate.
    """
    described = describe(given.chain)
    problem = "the private key cannot be read: it is damaged, or has a passphrase"
    public = _openssl("pkey", "-pubout", "-passin", "pass:", stdin=given.key, wrong=problem)
    if public.strip() != _openssl("x509", "-noout", "-pubkey", stdin=given.chain).strip():
        raise StateError(
            "the private key does not belong to the certificate",
            hint="give the key it was requested with; in a file of several, the site's own certificate comes first",
        )
    return described


def check(given: Pair) -> Described:
    """The data of a certificate that can be served now. Raises StateError like `match`, and if it has expired, is not
    valid yet, has no name, or costs the edge too much per handshake.
    """
    described = match(given)
    _check_cost(given)
    if described.left <= 0:
        raise StateError(f"the certificate expired on {described.ends[:10]}", hint="get a new one")
    if not described.begun:
        raise StateError(
            f"the certificate is not valid before {to_the_minute(described.begins)}",
            hint="wait until then, or check this machine's clock: timedatectl",
        )
    if not described.names:
        raise StateError(
            "the certificate has no names (subjectAltName)", hint="browsers require them: get a new one"
        )
    return described


def _check_cost(pair: Pair) -> None:
    """Raise StateError for a key whose signatures take long, or for a long chain: all apps share the edge, which
    signs for one while all others wait.

    The numbers of a key are checked too: with invalid ones a signature takes long, whatever the key's size.
    """
    count = sum(1 for block in _BLOCK.finditer(pair.chain) if block[1] == "CERTIFICATE")
    if count > _CHAIN or len(pair.chain) > _CHAIN_SIZE:
        raise StateError(
            f"the certificate comes with {count} others, {len(pair.chain) >> 10} KiB in all; at most {_CHAIN} "
            f"in {_CHAIN_SIZE >> 10} KiB are allowed",
            hint="give the certificate and its intermediate ones, without the root",
        )
    public = _openssl("pkey", "-pubout", "-passin", "pass:", stdin=pair.key)
    description = _openssl("pkey", "-pubin", "-noout", "-text", stdin=public)
    bits = re.search(r"Public-Key: \((\d+) bit\)\s+Modulus:", description)
    fits = (bits and int(bits[1]) <= _RSA) or re.search(
        rf"ASN1 OID: (?:{_CURVES})\s|^ED(?:25519|448) ", description
    )
    if not fits or len(pair.key) > _KEY_SIZE:
        raise StateError(
            f"signatures with this kind of private key take too long{f': {bits[1]} bits' if bits else ''}",
            hint=f"get a certificate for an elliptic-curve key (P-256), or for an RSA key of at most {_RSA} bits",
        )
    _openssl(
        "pkey", "-check", "-noout", "-passin", "pass:", stdin=pair.key, wrong="the private key is not valid"
    )


def authority(name: str) -> Pair:
    """A new authority, which signs only this machine's certificates and no other authority."""
    extensions = ("basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign")
    return _request(name, _AUTHORITY_DAYS, "-x509", *_added(extensions))


def issue(issuer: Pair, names: Sequence[str], addresses: Sequence[str] = ()) -> Pair:
    """A certificate for names and addresses, signed by an own authority."""
    alternative_names = ",".join([*(f"DNS:{n}" for n in names), *(f"IP:{a}" for a in addresses)])
    extensions = (
        *(f"subjectAltName={alternative_names}", "basicConstraints=critical,CA:FALSE"),
        *("keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth"),
    )
    with _files(ca=issuer.chain, cakey=issuer.key) as place:
        signing = ("-x509", "-CA", str(place / "ca"), "-CAkey", str(place / "cakey"))
        made = _request(names[0], _DAYS, *signing, *_added(extensions))
    return Pair(made.chain + issuer.chain, made.key)


def _added(extensions: Sequence[str]) -> list[str]:
    return [word for extension in extensions for word in ("-addext", extension)]


def _request(name: str, days: int, *words: str) -> Pair:
    with _files(config="[req]\ndistinguished_name = dn\n[dn]\n") as place:
        out, key = place / "out", place / "key"
        subject = f"/CN={name[:64]}"  # RFC 5280: ub-common-name
        argv = ("req", "-config", str(place / "config"), *_CURVE, "-nodes", "-sha256", "-days", str(days))
        _openssl(*argv, "-subj", subject, "-keyout", str(key), "-out", str(out), *words)
        return Pair(out.read_text(), key.read_text())


@contextlib.contextmanager
def _files(**texts: str) -> Iterator[Path]:
    """A private directory with some files, deleted afterwards: a key is neither an argument nor left behind."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in texts.items():
            files.write(Path(directory) / name, text, mode=0o600)
        yield Path(directory)


def _openssl(*argv: str, stdin: str | None = None, wrong: str = "") -> str:
    done = processes.run(["openssl", *argv], stdin=stdin, timeout=_TIMEOUT, umask=0o077)
    if done.status == 0:
        return done.stdout
    if wrong:
        raise StateError(wrong, hint="check the PEM file: openssl x509 -text -in FILE, openssl pkey -in FILE")
    raise HostError(f"openssl {argv[0]} failed", log=tuple(done.stderr.splitlines()[-5:]))


def _iso(date: str) -> str:
    """ISO 8601 of a date as OpenSSL writes it: `Nov 23 06:00:00 2026 GMT`."""
    import ssl

    return datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(date), datetime.UTC).isoformat()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

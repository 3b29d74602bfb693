"""Password verifiers as PostgreSQL stores them, computed here so that no statement contains a password."""

import base64
import hashlib
import hmac
import re
import secrets

from pushrod.core.errors import StoreError

ITERATIONS = 4096
"""PostgreSQL's own default (`scram_iterations`); the passwords are random, so more iterations would gain nothing."""


def verifier(password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> str:
    """The verifier that PostgreSQL stores instead of a password.

    `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the keys as RFC 5802 section 3 defines them. An empty
    salt means a new random one of 16 bytes. Raises StoreError if the password is not printable ASCII.
    """
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", checked(password).encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    return f"SCRAM-SHA-256${iterations}:{_base64(salt)}${_base64(stored_key)}:{_base64(server_key)}"


def matches(known: str, password: str) -> bool:
    """Whether a verifier (or none at all, an empty string) was made from this password."""
    match = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([\w+/=]+)\$.+", known)
    if not match:
        return False
    return hmac.compare_digest(known, verifier(password, base64.b64decode(match[2]), int(match[1])))


def checked(password: str) -> str:
    """Refuse other characters, which would have to be normalised (RFC 4013) before hashing; pushrod's own are
    hexadecimal.
    """
    if not password or not all(" " <= c <= "~" for c in password):
        raise StoreError("a password of PostgreSQL must be printable ASCII", hint="choose another password")
    return password


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

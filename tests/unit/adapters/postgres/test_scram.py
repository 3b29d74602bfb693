import base64
import hashlib
import hmac

import pytest

from pushrod.adapters.postgres import scram
from pushrod.core.errors import StoreError

# RFC 7677 section 3 (user "user", password "pencil"): the salt, and the proof and signature its keys must give.
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
AUTH_MESSAGE = (
    b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
)
PROOF = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_scram_keys_match_the_example_of_the_rfc() -> None:
    _, parameters, keys = scram.verifier("pencil", SALT, 4096).split("$")
    stored, server = (base64.b64decode(k) for k in keys.split(":"))
    assert parameters == "4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    assert hmac.digest(server, AUTH_MESSAGE, "sha256") == SIGNATURE
    mask = hmac.digest(stored, AUTH_MESSAGE, "sha256")
    client_key = bytes(a ^ b for a, b in zip(PROOF, mask, strict=True))
    assert hashlib.sha256(client_key).digest() == stored


def test_every_verifier_has_its_own_salt_and_matches() -> None:
    one, two = scram.verifier("secret"), scram.verifier("secret")
    assert one != two
    assert scram.matches(one, "secret")
    assert scram.matches(two, "secret")
    assert not scram.matches(one, "Secret")


@pytest.mark.parametrize("known", ["", "md5900150983cd24fb0d6963f7d28e17f72", "SCRAM-SHA-256$x"])
def test_an_invalid_verifier_matches_nothing(known: str) -> None:
    assert not scram.matches(known, "secret")


@pytest.mark.parametrize("password", ["", "naïve", "two\nlines", "tab\t"])
def test_a_password_that_would_need_normalising_is_refused(password: str) -> None:
    with pytest.raises(StoreError):
        scram.verifier(password)

"""Password files made from secrets."""

import base64
import hashlib
import os
import stat
from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Auth, Route, Routing
from pushrod.ingress.basic_auth import Passwords
from pushrod.state.apps import App
from tests.unit.ingress.places import places

ROUTING = Routing((Route("/admin/", service="web", auth=Auth(basic="ADMINS")), Route("/", service="web")))


@pytest.fixture
def passwords(app: App, tmp_path: Path) -> Passwords:
    return Passwords(app, places(tmp_path))


def right(line: str, password: str) -> bool:
    """Whether nginx accepts this password for the line (RFC 2307's {SSHA}: SHA-1 of password and salt)."""
    raw = base64.b64decode(line.partition(":{SSHA}")[2])
    return hashlib.sha1(password.encode() + raw[20:], usedforsecurity=False).digest() == raw[:20]


def test_each_user_of_the_secret_is_written_with_a_hashed_password(passwords: Passwords) -> None:
    passwords.secrets.store({"ADMINS": "ann:correct horse\n\n  bob:pässword:1\n"})
    passwords.check(ROUTING)
    path = passwords.directory / passwords.write(ROUTING)["ADMINS"]
    ann, bob = path.read_text().splitlines()
    assert ann.startswith("ann:{SSHA}")
    assert right(ann, "correct horse")
    assert not right(ann, "correct horse ")
    assert right(bob, "pässword:1")
    assert "horse" not in path.read_text()


def test_a_password_file_is_private_in_an_accessible_directory(passwords: Passwords) -> None:
    passwords.secrets.store({"ADMINS": "ann:correct horse"})
    before = os.umask(0o077)
    try:
        passwords.write(ROUTING)
    finally:
        os.umask(before)
    (path,) = passwords.directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(passwords.directory.stat().st_mode) == 0o755


def test_the_same_secret_gives_the_same_file(passwords: Passwords) -> None:
    passwords.secrets.store({"ADMINS": "ann:correct horse"})
    one = passwords.write(ROUTING)
    written = (passwords.directory / one["ADMINS"]).stat().st_mtime_ns
    assert passwords.write(ROUTING) == one
    assert (passwords.directory / one["ADMINS"]).stat().st_mtime_ns == written
    passwords.secrets.store({"ADMINS": "ann:battery staple"})
    other = passwords.write(ROUTING)
    assert other != one
    passwords.remove_unused(other.values())
    assert [p.name for p in passwords.directory.iterdir()] == [other["ADMINS"]]
    passwords.remove_all()
    assert not passwords.directory.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *[("", "is not set"), ("\n", "has a line"), ("ann", "has a line"), ("ann:short", "has a line")],
        *[
            (":correct horse", "has a line"),
            ("a b:correct horse", "has a line"),
            ("ann:correct horse\nbob", "has a line"),
        ],
    ],
)
def test_an_invalid_secret_is_refused_and_not_shown(passwords: Passwords, text: str, problem: str) -> None:
    passwords.secrets.store({"ADMINS": text})
    for act in (passwords.check, passwords.write):
        with pytest.raises(ManifestError, match=f"the secret ADMINS {problem}") as caught:
            act(ROUTING)
        assert caught.value.where == "routes./admin/.auth.basic"
        assert "pushrod secret set ADMINS < FILE" in caught.value.hint
        assert not text.strip() or text not in str(caught.value)


def test_without_basic_auth_no_file_is_written(passwords: Passwords) -> None:
    assert passwords.write(Routing((Route("/", service="web"),))) == {}
    assert not passwords.directory.exists()


def test_the_length_of_a_password_file_is_bounded(passwords: Passwords) -> None:
    many = "".join(f"user{n}:long enough\n" for n in range(501))
    passwords.secrets.store({"ADMINS": many})
    with pytest.raises(ManifestError, match="more than 500 lines"):
        passwords.check(Routing((Route("/admin/", auth=Auth(basic="ADMINS")),)))

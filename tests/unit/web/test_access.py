"""Links work once and for minutes, sessions for days; the file has neither."""

import datetime
from pathlib import Path

import pytest

from pushrod.core.errors import StateError, UnknownNameError
from pushrod.state.apps import Root
from pushrod.web import access
from pushrod.web.access import Access, Member, Passkey


@pytest.fixture
def who(tmp_path: Path) -> Access:
    return Access(Root(tmp_path))


def later(monkeypatch: pytest.MonkeyPatch, **length: float) -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(**length)
    monkeypatch.setattr(access, "now", lambda: at.isoformat(timespec="milliseconds"))


def test_a_link_works_once(who: Access) -> None:
    token = who.invite("ann", "deployer", ["shop"])
    session = who.enter(token)
    assert who.member_of(session) == Member("ann", "deployer", ("shop",))
    assert who.enter(token) == ""


def test_a_newer_link_replaces_the_older_one_and_the_rights(who: Access) -> None:
    first = who.invite("ann", "owner")
    session = who.enter(who.invite("ann", "viewer", ["shop"]))
    assert who.enter(first) == ""
    assert who.member_of(session) == Member("ann", "viewer", ("shop",))


def test_a_member_with_the_name_of_an_administrator_does_not_become_an_owner(who: Access) -> None:
    session = who.enter(who.invite("ann", "viewer", ["shop"]))
    own = who.enter(who.own("ann"))
    assert who.member_of(session) is None
    assert who.member_of(own) == Member("ann", "owner", ())
    again = who.enter(who.own("ann"))
    assert who.member_of(own) == who.member_of(again) == Member("ann", "owner", ())


def test_an_old_link_does_not_work(who: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    token = who.invite("ann", "viewer")
    later(monkeypatch, minutes=access.LINK_MINUTES + 1)
    assert who.enter(token) == ""


def test_a_session_ends_after_some_days(who: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    session = who.enter(who.invite("ann", "viewer"))
    later(monkeypatch, days=access.SESSION_DAYS, minutes=1)
    assert who.member_of(session) is None


def test_leaving_ends_one_session_and_removing_all(who: Access) -> None:
    one, other = (who.enter(who.invite("ann", "viewer")) for _ in range(2))
    who.leave(one)
    assert (who.member_of(one), who.member_of(other) is not None) == (None, True)
    link = who.invite("ann", "viewer")
    who.remove("ann")
    assert (who.member_of(other), who.enter(link), who.members()) == (None, "", [])


def test_only_so_many_sessions_of_a_member_are_kept(who: Access) -> None:
    sessions = [who.enter(who.invite("ann", "viewer")) for _ in range(access.MOST_SESSIONS + 1)]
    assert [who.member_of(s) is not None for s in (sessions[0], sessions[1], sessions[-1])] == [
        False,
        True,
        True,
    ]


def test_the_file_has_no_token_and_is_private(who: Access) -> None:
    link = who.invite("ann", "viewer")
    text = who.path.read_text()
    session = who.enter(link)
    text += who.path.read_text()
    assert link not in text
    assert session not in text
    assert who.path.stat().st_mode & 0o777 == 0o600
    assert who.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("token", ["", "x", "../../etc/passwd", "a" * 43, "ä" * 43, "a" * 10_000])
def test_what_is_no_token_is_nobodys(token: str, who: Access) -> None:
    who.invite("ann", "viewer")
    assert (who.enter(token), who.member_of(token)) == ("", None)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a\nb", "x" * 65])
def test_a_name_that_could_be_taken_for_another_is_refused(name: str, who: Access) -> None:
    with pytest.raises(UnknownNameError):
        who.invite(name, "viewer")


def test_removing_nobody_is_an_error_and_a_damaged_file_lets_nobody_in(who: Access) -> None:
    with pytest.raises(UnknownNameError, match="no member `ann`"):
        who.remove("ann")
    who.invite("ann", "viewer")
    who.path.write_text("{")
    with pytest.raises(StateError):
        who.member_of("a" * 43)


def test_the_token_of_forms_is_the_sessions(who: Access) -> None:
    one, other = (who.enter(who.invite("ann", "viewer")) for _ in range(2))
    assert access.seal(one) == access.seal(one) != access.seal(other)
    assert one not in access.seal(one)


def test_a_passkeys_count_only_grows_unless_it_does_not_count(who: Access) -> None:
    who.invite("ann", "viewer")
    for id, count in (("counts", 3), ("does not", 0)):
        who.add_passkey(Passkey(id, "ann", "key", "ops.example.com", "", count))
    assert who.enter_by_passkey("counts", 3) == ""  # used meanwhile by another request
    assert who.enter_by_passkey("counts", 4) != ""
    assert [bool(who.enter_by_passkey("does not", 0)) for _ in range(2)] == [True, True]
    assert who.enter_by_passkey("gone", 9) == ""


def test_a_member_has_few_passkeys_and_none_twice(who: Access) -> None:
    who.invite("ann", "viewer")
    for number in range(access.MOST_PASSKEYS):
        who.add_passkey(Passkey(str(number), "ann", "key", "ops.example.com", ""))
    who.invite("bob", "viewer")
    for one in (Passkey("more", "ann", "key", "ops.example.com", ""), Passkey("0", "bob", "key", "x", "")):
        with pytest.raises(UnknownNameError, match="cannot be added"):
            who.add_passkey(one)
    who.add_passkey(Passkey("nobody", "eve", "key", "ops.example.com", ""))
    assert who.passkey("nobody") is None

"""Who may open the page: members, their one-time links, and their sessions, in ROOT/web/access.json.

A link works once, within minutes, and makes a session; there are no passwords to guess, to leak or to reset. Whoever
may run `pushrod web invite` makes another link. Of links and sessions only the SHA-256 is kept. At the page's domain
a member may add passkeys, of which the public keys are kept.
"""

import datetime
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from pushrod.core.errors import UnknownNameError
from pushrod.core.times import now
from pushrod.core.values import Value
from pushrod.state.apps import Root, check_name
from pushrod.state.records import read_json
from pushrod.system import files, locks
from pushrod.web.roles import Role

_ABOVE = "pushrod.localhost"  # browsers resolve names below `localhost` to loopback themselves (RFC 6761)

LINK_MINUTES = 15
"""How long a one-time link works."""

SESSION_DAYS = 7
"""How long a session lasts."""

MOST_PASSKEYS = 10
"""Passkeys of one member."""

MOST_SESSIONS = 20
"""Sessions of one member; the oldest ends when one more begins."""

_HOST = re.compile(rf"[0-9a-f]{{16}}\.{re.escape(_ABOVE)}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def loopback_name() -> str:
    """A host name for the page on loopback, new for each run; only a person with the link knows it.

    A browser sends the cookie of a name to every port of it, and each app on this machine listens on one: it would
    receive the session if it could lead its visitors to the page's name.
    """
    return f"{secrets.token_hex(8)}.{_ABOVE}"


def is_loopback_name(host: str) -> bool:
    """Whether a host name is such a name."""
    return _HOST.fullmatch(host) is not None


class Member(Value, frozen=True):
    """Somebody who may open the page. Empty `apps` means all, including future ones."""

    name: str
    role: Role
    apps: tuple[str, ...] = ()

    def sees(self, app: str) -> bool:
        """Whether an app is theirs to see."""
        return not self.apps or app in self.apps


class Ticket(Value, frozen=True):
    """A link or a session of a member: the SHA-256 of its token, and the time until which it is valid."""

    digest: str
    name: str
    until: str


class Passkey(Value, frozen=True):
    """A member's passkey: its id and its public key (base64url), the domain it is for, when it was added, and the
    count of its last use (0 if it does not count)."""

    id: str
    name: str
    key: str
    domain: str
    added: str
    count: int = 0


class _Record(Value, frozen=True):
    """The file's content."""

    members: tuple[Member, ...] = ()
    links: tuple[Ticket, ...] = ()
    sessions: tuple[Ticket, ...] = ()
    passkeys: tuple[Passkey, ...] = ()


class Access:
    """The members of a root's page. Creating the value touches no files."""

    def __init__(self, root: Root) -> None:
        self.directory = root.path / "web"
        self.path = self.directory / "access.json"

    # ---- members, by the command line -----------------------------------------------------------------------

    def members(self) -> list[Member]:
        """Everybody who has been invited, by name."""
        return sorted(self._read().members, key=lambda m: m.name)

    def invite(self, name: str, role: Role, apps: Sequence[str] = ()) -> str:
        """Make somebody a member, or change their role and apps; returns the token of a one-time link.

        Raises UnknownNameError for an invalid name.
        """
        return self._invited(name, role, apps, afresh=False)

    def own(self, name: str) -> str:
        """A one-time link for the person who runs pushrod here, as an owner of all apps. A member of that name with
        a lesser role may be somebody else: their sessions and passkeys end, and do not become an owner's."""
        return self._invited(name, "owner", (), afresh=True)

    def _invited(self, name: str, role: Role, apps: Sequence[str], *, afresh: bool) -> str:
        if not _NAME.fullmatch(name):
            raise UnknownNameError(
                f"`{name}` cannot be a member's name",
                hint="a name is letters, digits and ._@-, 64 at most",
            )
        member = Member(name, role, tuple(map(check_name, dict.fromkeys(apps))))
        token, until = secrets.token_urlsafe(32), _after(datetime.timedelta(minutes=LINK_MINUTES))
        with self._changed() as change:
            record = change.record
            ended = afresh and member not in record.members
            change.record = msgspec.structs.replace(
                record,
                sessions=tuple(t for t in record.sessions if not (ended and t.name == name)),
                passkeys=tuple(p for p in record.passkeys if not (ended and p.name == name)),
                members=(*(m for m in record.members if m.name != name), member),
                links=(*(t for t in record.links if t.name != name), Ticket(_digest(token), name, until)),
            )
        return token

    def remove(self, name: str) -> None:
        """Remove a member, and end their sessions. Raises UnknownNameError if there is none."""
        with self._changed() as change:
            record = change.record
            if name not in {m.name for m in record.members}:
                known = ", ".join(m.name for m in record.members) or "none yet"
                raise UnknownNameError(f"no member `{name}`", hint=f"members: {known}")
            change.record = _Record(
                tuple(m for m in record.members if m.name != name),
                tuple(t for t in record.links if t.name != name),
                tuple(t for t in record.sessions if t.name != name),
                tuple(p for p in record.passkeys if p.name != name),
            )

    # ---- links and sessions, by the page --------------------------------------------------------------------

    def is_link(self, token: str) -> bool:
        """Whether a token is that of a valid link."""
        return bool(_TOKEN.fullmatch(token)) and _digest(token) in {t.digest for t in self._read().links}

    def enter(self, token: str) -> str:
        """Use up a link; returns the token of a new session, or an empty text if the link is not valid."""
        if not self.is_link(token):  # wrong ones wait for no lock
            return ""
        digest = _digest(token)
        with self._changed() as change:
            record = change.record
            link = next((t for t in record.links if t.digest == digest), None)
            if link is None:
                return ""
            left = tuple(t for t in record.links if t.digest != digest)
            change.record, session = _begun(msgspec.structs.replace(record, links=left), link.name)
        return session

    def member_of(self, session: str) -> Member | None:
        """The member whose session this is; None if it is nobody's, or has ended."""
        if not _TOKEN.fullmatch(session):
            return None
        record, digest = self._read(), _digest(session)
        ticket = next((t for t in record.sessions if t.digest == digest and t.until > now()), None)
        return next((m for m in record.members if ticket and m.name == ticket.name), None)

    # ---- passkeys, by the page ------------------------------------------------------------------------------

    def passkeys(self, name: str) -> list[Passkey]:
        """Those of a member, in the order in which they were added."""
        return [p for p in self._read().passkeys if p.name == name]

    def passkey(self, id: str) -> Passkey | None:
        """The passkey with that id."""
        return next((p for p in self._read().passkeys if p.id == id), None)

    def add_passkey(self, passkey: Passkey) -> None:
        """Let a member log in by a passkey. Raises UnknownNameError if they have too many, or if it is known."""
        with self._changed() as change:
            record = change.record
            own = [p for p in record.passkeys if p.name == passkey.name]
            if len(own) >= MOST_PASSKEYS or passkey.id in {p.id for p in record.passkeys}:
                raise UnknownNameError(
                    "this passkey cannot be added",
                    hint=f"it is known already, or you have {MOST_PASSKEYS}: remove one",
                )
            if passkey.name in {m.name for m in record.members}:
                change.record = msgspec.structs.replace(record, passkeys=(*record.passkeys, passkey))

    def remove_passkey(self, name: str, id: str) -> None:
        """Remove a passkey of a member; their sessions stay."""
        with self._changed() as change:
            left = tuple(p for p in change.record.passkeys if (p.name, p.id) != (name, id))
            change.record = msgspec.structs.replace(change.record, passkeys=left)

    def enter_by_passkey(self, id: str, count: int) -> str:
        """Begin a session of the member whose passkey was just proved, and note its count; returns the session's
        token, or an empty text if the passkey is gone, or was used meanwhile with that count."""
        with self._changed() as change:
            record = change.record
            known = next((p for p in record.passkeys if p.id == id), None)
            if known is None or (known.count and count <= known.count):
                return ""
            counted = tuple(
                msgspec.structs.replace(p, count=count) if p is known else p for p in record.passkeys
            )
            record = msgspec.structs.replace(record, passkeys=counted)
            change.record, session = _begun(record, known.name)
        return session

    def leave(self, session: str) -> None:
        """End a session."""
        with self._changed() as change:
            digest = _digest(session)
            left = tuple(t for t in change.record.sessions if t.digest != digest)
            change.record = msgspec.structs.replace(change.record, sessions=left)

    # ---- the file -------------------------------------------------------------------------------------------

    def _read(self) -> _Record:
        if not self.path.exists():
            return _Record()
        record = read_json(self.path, _Record, restore="remove it, and invite the members again")
        at = now()
        return msgspec.structs.replace(record, links=tuple(t for t in record.links if t.until > at))

    @contextmanager
    def _changed(self) -> Iterator["_Change"]:
        """The record, to be replaced within the block, under a lock; what has ended is dropped."""
        files.make_private(self.directory)
        with locks.lock(self.directory / "lock", purpose="changing who may open the page", timeout=10.0):
            record, at = self._read(), now()
            valid = tuple(t for t in record.sessions if t.until > at)
            change = _Change(msgspec.structs.replace(record, sessions=valid))
            before = change.record
            yield change
            if change.record is not before:
                files.write(self.path, msgspec.json.format(msgspec.json.encode(change.record)), mode=0o600)


def _begun(record: _Record, name: str) -> tuple[_Record, str]:
    """The record with one more session of a member, and the session's token."""
    session = secrets.token_urlsafe(32)
    ticket = Ticket(_digest(session), name, _after(datetime.timedelta(days=SESSION_DAYS)))
    others = [t for t in record.sessions if t.name != name]
    own = [t for t in record.sessions if t.name == name]
    return msgspec.structs.replace(record, sessions=(*others, *own[-(MOST_SESSIONS - 1) :], ticket)), session


class _Change:
    def __init__(self, record: _Record) -> None:
        self.record = record


def seal(session: str) -> str:
    """The token that a form of this session must contain (CSRF): no other site can know it."""
    return hmac.new(session.encode(), b"pushrod form", hashlib.sha256).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _after(length: datetime.timedelta) -> str:
    return (datetime.datetime.now(datetime.UTC) + length).isoformat(timespec="milliseconds")

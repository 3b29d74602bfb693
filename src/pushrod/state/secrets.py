"""Secrets of an app: passwords pushrod generated, variables the user set, and the sealed environment of a release.

They are stored in files of mode 0600 below the app's `secrets/` (0700): never in Git, in argv or in a log.
"""

import hashlib
import hmac
import re
import secrets as random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from pushrod.core import variables
from pushrod.core.errors import StateError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.system import damaged_paths, files

Variables = dict[str, str]

_RESTORE = (
    "restore it from a backup, or run `pushrod doctor --repair` to recover the values of the live release"
)
_RESOLVE = "`pushrod doctor --repair` resolves it again; or deploy again"

# Last words of variable names whose values are not secret: who, where, how much, which.
_OPEN = frozenset((
    "ADDR", "ADDRESS", "APP", "BIND", "BRANCH", "BUCKET", "BUFFERS", "CHARSET", "CLUSTER", "COLLATION",
    "CONCURRENCY", "CONNECTIONS", "COUNT", "DATABASE", "DB", "DBNAME", "DEBUG", "DELAY", "DIR", "DOMAIN",
    "DOMAINS", "EMAIL", "ENV", "ENVIRONMENT", "FORMAT", "GID", "HOST", "HOSTNAME", "HOSTS", "IMAGE", "INTERVAL",
    "LANG", "LANGUAGE", "LEVEL", "LIMIT", "LISTEN", "LOCALE", "LOGLEVEL", "MAX", "MAXMEMORY", "MEMORY", "MIN",
    "MODE", "MODULE", "NAME", "NAMESPACE", "NETWORK", "PATH", "POLICY", "PORT", "PORTS", "PREFIX", "PROCESSES",
    "PROFILE", "PROFILES", "PROJECT", "PROTOCOL", "QUEUE", "QUEUES", "REGION", "REGISTRY", "REPLICAS", "REQUESTS",
    "RETRIES", "SCHEMA", "SCHEME", "SETTINGS", "SIZE", "STAGE", "TAG", "THREADS", "TIMEOUT", "TIMEZONE", "TOPIC",
    "TTL", "TZ", "UID", "USER", "USERNAME", "VERBOSE", "VERSION", "WORKERS", "ZONE", "PGDATABASE", "PGHOST",
    "PGPORT", "PGUSER",
))  # fmt: skip
_CLOSED = lazy(
    r"(?:^|_)(?:\w*(?:PASS|PASSWORD|PASSPHRASE|PASSWD|PWD|SECRET|TOKEN|KEY)|AUTH|CREDENTIALS?|CODE|PIN|SALT|DSN|UR[IL])"
    r"(?:_|$)"
)
_TRIVIAL = lazy(r"true|false|yes|no|on|off|none|null|[0-9]{1,6}", re.IGNORECASE)


def tells_nothing(name: str) -> bool:
    """Whether a variable's name shows that it is not a secret: `POSTGRES_USER`, `APP_PORT`; not `TOKEN` or
    `DATABASE_URL`."""
    return name.upper().rpartition("_")[2] in _OPEN


def is_trivial(name: str, value: str) -> bool:
    """Whether a value is a switch or a small number (`RELOAD=true`, `RATE=5`), and its name not a password's."""
    return not _CLOSED.search(name.upper()) and _TRIVIAL.fullmatch(value) is not None


class Secrets:
    """The secrets of one app."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._variables = app.secrets / "variables.json"
        self._passwords = app.secrets / "passwords.json"
        self._key = app.secrets / "digest.key"

    def password(self, name: str) -> str:
        """The password with that name, generated on first use: 48 hexadecimal digits, 192 bits, safe in a URL."""
        files.make_private(self.app.secrets)
        known = self._read("passwords")
        if name not in known:
            known[name] = self.new_password()
            self._write("passwords", known)
        return known[name]

    def new_password(self) -> str:
        """A new random password."""
        return random.token_hex(24)

    def knows(self, name: str) -> bool:
        """Whether there is a password with that name."""
        return name in self._read("passwords")

    def logins(self, store: str) -> tuple[str, ...]:
        """The roles by which instances log into a PostgreSQL store: that of new releases first, then the one whose
        password is being rotated out.
        """
        known = self._read("logins")
        return tuple(filter(None, (known.get(store, "app"), known.get(f"{store}/before", ""))))

    def begin_rotation(self, store: str) -> tuple[str, str]:
        """New passwords for a store's roles, and the other role for new releases; returns it and the previous one.
        One that was begun goes on.
        """
        logins = self.logins(store)
        if len(logins) == 1:
            new = "app2" if logins[0] == "app" else "app"
            passwords = {f"{store}/{whose}": self.new_password() for whose in (new, "migrator", "readonly")}
            # If an earlier attempt was cut off between the two files, kept releases have the password before that.
            kept = {f"{store}/migrator/before": self.password(f"{store}/migrator")}
            self._write("passwords", kept | self._read("passwords") | passwords)
            self._write("logins", self._read("logins") | {store: new, f"{store}/before": logins[0]})
            logins = (new, logins[0])
        return logins[0], logins[1]

    def rotated(self, store: str) -> Variables:
        """The migrating role's password that is being rotated out, with the new one."""
        known = self._read("passwords")
        before = known.get(f"{store}/migrator/before")
        return {before: known[f"{store}/migrator"]} if before else {}

    def end_rotation(self, store: str) -> None:
        """Forget the passwords that were rotated out."""
        *_, before = self.logins(store)
        gone = (f"{store}/{before}", f"{store}/migrator/before")
        self._write("passwords", {n: v for n, v in self._read("passwords").items() if n not in gone})
        self._write("logins", {n: v for n, v in self._read("logins").items() if n != f"{store}/before"})

    def replace_sealed(self, number: int, texts: Mapping[str, str]) -> None:
        """Replace texts in a sealed release's environment, and in the files that an engine made from it."""
        whole = self._sealed(number)
        for path in (whole, *sorted(whole.with_suffix("").glob("*.env"))):
            if path.is_file():
                before = after = path.read_text()
                for old, new in texts.items():
                    after = after.replace(old, new)
                if after != before:
                    files.write(path, after, mode=0o600)

    def given(self, name: str) -> str | None:
        """A password that the manifest gives a store; None if there is none. It is not redacted: it is often a word
        such as `postgres`, and in Git as it is.
        """
        return self._given().get(name)

    def set_given(self, name: str, value: str | None) -> None:
        """Keep such a password; None removes it."""
        known = self._given()
        if known.get(name) == value:
            return
        files.make_private(self.app.secrets)
        others = {other: kept for other, kept in known.items() if other != name}
        self._write("given", others if value is None else others | {name: value})

    def _given(self) -> Variables:
        """Written again from the manifest whenever it is read, so nothing is lost with a damaged file."""
        try:
            return self._read("given")
        except StateError:
            return {}

    def remember(self, passwords: Mapping[str, str]) -> list[str]:
        """Store recovered passwords whose names are unknown so far; returns these names."""
        known = self._read("passwords")
        lacking = {name: value for name, value in passwords.items() if name not in known}
        if lacking:
            self._write("passwords", known | lacking)
        return sorted(lacking)

    def damaged(self) -> Iterator[StateError]:
        """An error for each unreadable file."""
        for what in ("variables", "passwords", "logins"):
            try:
                self._read(what)
            except StateError as e:
                yield e

    def variables(self) -> Variables:
        """The variables stored by `pushrod secret set`."""
        return self._read("variables")

    def store(self, values: Mapping[str, str]) -> None:
        """Store variables; the app receives them with its next release. Raises UnknownNameError for an invalid
        name."""
        for name in values:
            if not variables.NAME.fullmatch(name):
                raise UnknownNameError(
                    f"`{name}` cannot be a variable's name",
                    hint="use letters, digits, `_`, `.` and `-`",
                )
        self._write("variables", self.variables() | dict(values))

    def unset(self, names: Iterable[str]) -> None:
        """Remove variables; raises UnknownNameError if one is not set."""
        known = self.variables()
        for name in names:
            if name not in known:
                raise UnknownNameError(f"no secret `{name}`", hint="`pushrod secret list` shows their names")
            del known[name]
        self._write("variables", known)

    def seal(self, number: int, environments: Mapping[str, Variables]) -> None:
        """Store the resolved environment of each service of a release."""
        files.make_private(self.app.secrets)
        files.make_private(self.app.secrets / "releases")
        files.write(self._sealed(number), msgspec.json.encode(environments), mode=0o600)

    def digest(self, value: object) -> str:
        """A keyed digest of a value that may contain secrets: it goes into Git, where an unkeyed one could be
        guessed."""
        encoded = msgspec.json.encode(value, order="deterministic")
        return hmac.new(self._digest_key(), encoded, hashlib.sha256).hexdigest()

    def sealed(self, number: int) -> dict[str, Variables]:
        """The environment of each service of a sealed release."""
        return read_json(self._sealed(number), dict[str, Variables], restore=_RESOLVE)

    def remove(self, number: int) -> None:
        """Remove a release's environment, and the files that an engine made from it."""
        for path in (self._sealed(number), *damaged_paths.kept_aside(self._sealed(number)).values()):
            files.remove(path)
        files.remove(self._sealed(number).with_suffix(""))

    def values(self) -> set[str]:
        """Every secret value to redact from output, except values shorter than 6 characters.

        A value with several lines (a key) is split into lines, because output is shown line by line.
        """
        known = {*self._read("variables").values(), *self._read("passwords").values()}
        return {part for v in known for part in v.splitlines() if len(part) >= 6}

    def redact(self, line: str) -> str:
        """Replace every known secret in a line by ***, the longest first, as one may contain another."""
        for value in sorted(self.values(), key=len, reverse=True):
            line = line.replace(value, "***")
        return line

    def _sealed(self, number: int) -> Path:
        return self.app.secrets / "releases" / f"{number}.json"

    def _digest_key(self) -> bytes:
        if not self._key.exists():
            files.make_private(self.app.secrets)
            files.write(self._key, random.token_bytes(32), mode=0o600)
        return self._key.read_bytes()

    def _read(self, what: str) -> Variables:
        path = self.app.secrets / f"{what}.json"
        return read_json(path, Variables, restore=_RESTORE) if path.exists() else {}

    def _write(self, what: str, values: Variables) -> None:
        files.make_private(self.app.secrets)
        files.write(self.app.secrets / f"{what}.json", msgspec.json.encode(values), mode=0o600)

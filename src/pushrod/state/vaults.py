"""Vaults: encrypted repositories outside this machine, which backups are copied to.

    ROOT/vaults/<name>/      0700
      vault.json             its address, its password, the credentials of its server (0600)
      id_ed25519, .pub       the key for a server over SFTP, and known_hosts
      cache/                 restic's copy of the vault's index

Nothing below `vaults/` is ever copied to a vault: whoever can read a vault must not find the password of another.
"""

import re
import secrets as random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from pushrod.adapters.sftp import Server
from pushrod.core.errors import HostError, UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.core.values import NO_VAULT, Value
from pushrod.state.apps import NAME, Root
from pushrod.state.records import read_json
from pushrod.system import files

CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "RESTIC_PASSWORD",
)
"""The variables that a file of credentials may contain."""

_USER = r"(?P<user>[A-Za-z_][A-Za-z0-9_.-]{0,31})"
_HOST = r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
_PATH = r"(?P<path>/[A-Za-z0-9_.@+/-]{1,1000})"
_FORMS: tuple[tuple["Kind", re.Pattern[str]], ...] = (
    ("s3", lazy(rf"s3:https?://{_HOST}(?::\d{{1,5}})?{_PATH}")),
    ("sftp", lazy(rf"sftp:{_USER}@{_HOST}:{_PATH}")),
    ("sftp", lazy(rf"sftp://{_USER}@{_HOST}(?::(?P<port>\d{{1,5}}))?/{_PATH}")),
    ("sftp", lazy(rf"sftp://{_USER}@{_HOST}(?::(?P<port>\d{{1,5}}))?{_PATH}")),
    ("directory", lazy(_PATH)),
)

Kind = Literal["directory", "sftp", "s3"]


class Vault(Value, frozen=True):
    """One vault. `variables` are the credentials of its server."""

    name: str
    url: str
    password: str
    created: str
    variables: dict[str, str] = {}

    @property
    def kind(self) -> Kind:
        """What kind of place it is in."""
        return _parsed(self.url)[0]

    @property
    def server(self) -> Server | None:
        """Its server, if it is reached over SFTP."""
        kind, match = _parsed(self.url)
        if kind != "sftp":
            return None
        port = match.groupdict().get("port")
        return Server(match["user"], match["host"], int(port or 22), match["path"])


def _parsed(url: str) -> tuple[Kind, re.Match[str]]:
    for kind, form in _FORMS:
        match = form.fullmatch(url)
        if match and ".." not in match["path"].split("/"):
            return kind, match
    raise HostError(
        f"`{url}` is not a place for backups",
        hint="give a directory (/mnt/backups), sftp:user@host:/path, sftp://user@host:2222/path, or "
        "s3:https://host/bucket",
    )


def check(root: Root, url: str) -> Kind:
    """The kind of place that a text names. Raises HostError for any other text, and for a place in the root."""
    kind, match = _parsed(url)
    if kind == "directory" and Path(match["path"]).resolve().is_relative_to(root.path.resolve()):
        raise HostError(
            "the vault would be a part of what it is a copy of",
            where=url,
            hint=f"choose a place outside {root.path}, on another disk or another machine",
        )
    return kind


def new_password() -> str:
    """A random password for a vault: 192 bits."""
    return random.token_hex(24)


class Vaults:
    """The vaults of a root."""

    def __init__(self, root: Root) -> None:
        self._path = root.path / "vaults"
        self.lock = self._path / "lock"

    def directory(self, name: str) -> Path:
        """The directory with everything about a vault."""
        return self._path / name

    def all(self) -> Iterator[Vault]:
        """Every vault, sorted by name."""
        for path in sorted(self._path.glob("*/vault.json")):
            yield self._read(path)

    def names(self) -> list[str]:
        """The names of all vaults."""
        return [path.parent.name for path in sorted(self._path.glob("*/vault.json"))]

    def find(self, name: str) -> Vault | None:
        """A vault, None if there is none of that name."""
        path = self._record(name)
        return self._read(path) if path.exists() else None

    def save(self, vault: Vault) -> None:
        """Write a vault's record."""
        files.make_private(self._path)
        files.make_private(self.directory(vault.name))
        files.write(self._record(vault.name), msgspec.json.encode(vault), mode=0o600)

    def remove(self, name: str) -> None:
        """Remove everything that is known of a vault; what is in it stays."""
        files.remove_tree(self.directory(name))

    def remove_record(self, name: str) -> None:
        """Remove a vault's address and password; the key for its server stays."""
        files.remove(self._record(name))

    def _record(self, name: str) -> Path:
        if not NAME.fullmatch(name) or name == NO_VAULT:
            raise UnknownNameError(
                f"`{name}` cannot be a vault's name", hint="use lower-case letters, digits and dashes"
            )
        return self.directory(name) / "vault.json"

    def _read(self, path: Path) -> Vault:
        hint = f"remove {path.parent}, then `pushrod host backups set` with the vault's password as RESTIC_PASSWORD"
        return read_json(path, Vault, restore=hint)

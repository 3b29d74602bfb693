"""Who may push: pushrod's lines in the account's authorized_keys (sshd(8)).

Each key may do one thing: run `pushrod gate NAME`, which checks what its owner asks for. Lines that pushrod did not
write stay as they are. The file is the only record.
"""

import base64
import contextlib
import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pushrod.core.errors import HostError, StateError, UnknownNameError
from pushrod.core.values import Value
from pushrod.state.apps import check_name
from pushrod.system import files, processes

PLACE = ".ssh/authorized_keys"
"""The file's path below the account's home."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_KIND = re.compile(r"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+")
_BODY = re.compile(r"[A-Za-z0-9+/]+={0,3}")
_OURS = re.compile(
    r'restrict,(?:pty,)?command="(?P<command>[^"]* gate [^"]*)" (?P<kind>\S+) (?P<body>\S+)(?: .*)?'
)


class Key(Value, frozen=True):
    """A key that may push. Empty `apps` means all, including future ones."""

    name: str
    fingerprint: str
    kind: str
    body: str
    apps: tuple[str, ...] = ()

    def line(self, program: Path, root: Path) -> str:
        """The line of authorized_keys: this command only, no forwarding; with a terminal, for `pushrod db shell`."""
        limits = (word for app in self.apps for word in ("--app", app))
        command = shlex.join([str(program), "--root", str(root), "gate", self.name, *limits])
        return f'restrict,pty,command="{command}" {self.kind} {self.body} {self.name}'


def parse(text: str, *, name: str = "", apps: Sequence[str] = ()) -> Key:
    """The one public key in a file, named by `name` or its comment.

    Raises HostError unless the text is exactly one public key, UnknownNameError for an invalid name.
    """
    if "PRIVATE KEY" in text:
        raise HostError(
            "this is a private key: it must not leave the machine it was made on",
            hint="give the file that ends in .pub",
        )
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) != 1:
        raise HostError(f"expected one public key, found {len(lines)} lines", hint="add keys one by one")
    words = lines[0].split(None, 2)
    if not _KIND.fullmatch(words[0]) and re.search(rf"(^|\s){_KIND.pattern} AAAA", lines[0]):
        raise HostError(
            "the line has options before the key; pushrod writes its own",
            hint="give the key alone, as in the .pub file",
        )
    if len(words) < 2 or not _KIND.fullmatch(words[0]) or not _BODY.fullmatch(words[1]):
        raise _malformed("expected a line such as `ssh-ed25519 AAAA… alice@laptop`")
    comment = words[2] if len(words) > 2 else ""
    return Key(
        _check_name(name or comment),
        fingerprint(f"{words[0]} {words[1]}"),
        words[0],
        words[1],
        tuple(map(check_name, dict.fromkeys(apps))),
    )


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UnknownNameError(
            f"`{name}` cannot be a key's name" if name else "the key has no comment that names it",
            hint="give one with --name: letters, digits and .-_@+, 64 at most",
        )
    return name


def _malformed(why: str) -> HostError:
    return HostError("this is not an SSH public key", hint=why)


def fingerprint(key: str) -> str:
    """A key's fingerprint from ssh-keygen; HostError if ssh-keygen does not accept the key."""
    done = processes.run(["ssh-keygen", "-l", "-f", "-"], stdin=f"{key}\n", timeout=10)
    match = re.search(r"SHA256:\S+", done.stdout)
    if done.status != 0 or not match:
        raise _malformed(f"ssh-keygen says: {(done.stderr or done.stdout).strip() or 'nothing'}")
    return match[0]


def fingerprint_of(path: Path, name: str) -> str:
    """The fingerprint of the key with that name in pushrod's key file, as ssh-keygen writes it; `-` if there is
    none.

    OpenSSH's fingerprint is the SHA-256 of the key's blob, in base64 without padding.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            match = _OURS.fullmatch(line.strip())
            if match and re.search(rf" gate {re.escape(name)}(?: |$)", match["command"]):
                digest = hashlib.sha256(base64.b64decode(match["body"], validate=True)).digest()
                return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"
    return "-"


def read_line(line: str) -> Key | None:
    """The key of a line that pushrod wrote; None for any other line."""
    match = _OURS.fullmatch(line.strip())
    if not match:
        return None
    words = shlex.split(match["command"])
    words = words[words.index("gate") + 1 :]
    name, apps = words[0], tuple(words[2::2])
    return Key(name, fingerprint(f"{match['kind']} {match['body']}"), match["kind"], match["body"], apps)


class KeyFile:
    """One account's authorized_keys. `owner` is the account; every change replaces the file atomically."""

    def __init__(self, path: Path, owner: tuple[int, int]) -> None:
        self.path = path
        self.owner = owner

    def all(self) -> list[Key]:
        """The keys that pushrod wrote, in the file's order."""
        return [key for line in self._lines() if (key := read_line(line))]

    def add(
        self, key: Key, program: Path, root: Path, before: Callable[[str], None] = lambda _name: None
    ) -> None:
        """Add a key; `before` is called with its name after all checks, immediately before the file is written.

        Raises UnknownNameError if the key or its name exists already.
        """
        lines = self._lines()
        if any(key.body in line.split() for line in lines):
            named = next((k.name for k in self.all() if k.body == key.body), "")
            origin = f"as `{named}`" if named else "added by hand"
            raise UnknownNameError(
                f"this key exists already, {origin}",
                where=str(self.path),
                hint="`pushrod host keys remove` removes it" if named else "remove that line first",
            )
        if any(k.name == key.name for k in self.all()):
            raise UnknownNameError(
                f"another key is called `{key.name}`",
                where=str(self.path),
                hint="give another name with --name",
            )
        before(key.name)
        self._write([*lines, key.line(program, root)])

    def remove(self, which: str) -> Key:
        """Remove and return the key with that name or fingerprint; UnknownNameError if there is none."""
        key = next((k for k in self.all() if which in (k.name, k.fingerprint)), None)
        if key is None:
            known = ", ".join(k.name for k in self.all()) or "none yet"
            raise UnknownNameError(f"no key `{which}`", where=str(self.path), hint=f"keys here: {known}")
        self._write([line for line in self._lines() if not _holds(line, key)])
        return key

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text().splitlines()
        except FileNotFoundError:
            return []
        except UnicodeDecodeError as e:
            raise StateError(
                "cannot be read: it is not text", where=str(self.path), hint="repair it by hand"
            ) from e

    def _write(self, lines: list[str]) -> None:
        files.chown(files.make_private(self.path.parent), self.owner)
        files.write(self.path, "".join(f"{line}\n" for line in lines), mode=0o600, owner=self.owner)


def _holds(line: str, key: Key) -> bool:
    other = read_line(line)
    return other is not None and other.body == key.body

"""Who may pass a route that asks for a password: files for nginx, made of secrets with lines of `user:password`.

    ROOT/edge/passwords/shop/3f9a07c1…      one `user:{SSHA}…` a line, 0600, of whom nginx runs as; never changed

A file is named by a keyed digest of its secret, and stays as long as a release that was sealed with it.
"""

import base64
import hashlib
import re
from collections.abc import Collection

from pushrod.adapters.nginx import Edge
from pushrod.core.errors import ManifestError
from pushrod.core.values import Routing
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files

_MOST = 500  # lines: nginx looks through them for each request
_LINE = re.compile(r"([^:\s\x00-\x1f]{1,64}):(\S.{7,255})")


class Passwords:
    """The password files of one app. Creating the value touches nothing."""

    def __init__(self, app: App, edge: Edge) -> None:
        self.secrets = Secrets(app)
        self.directory = edge.passwords / app.name
        self.edge = edge

    def check(self, routing: Routing) -> None:
        """Raise ManifestError where a route names a secret that is not there, or holds something else."""
        for name, route in self._wanted(routing).items():
            _lines(self._text(name), f"routes.{route}.auth.basic", name)

    def write(self, routing: Routing) -> dict[str, str]:
        """Make the files that are not there yet; the file of each secret, by its name."""
        account = self.edge.account
        owner = (account.uid, account.gid) if account else None
        found = {}
        for name, route in self._wanted(routing).items():
            text = self._text(name)
            pairs = _lines(text, f"routes.{route}.auth.basic", name)
            generation = self.secrets.digest([name, text])[:16]
            salt = bytes.fromhex(self.secrets.digest([generation])[:16])
            path = self.directory / generation
            if not path.exists():
                lines = "".join(f"{user}:{_hashed(password, salt)}\n" for user, password in pairs)
                files.make_open(self.directory)
                files.write(path, lines, mode=0o600, owner=owner)
            found[name] = generation
        return found

    def prune(self, used: Collection[str]) -> None:
        """Remove the files that no kept release names."""
        for path in self.directory.glob("*"):
            if path.name not in used:
                path.unlink()

    def forget(self) -> None:
        """Take all of them away."""
        files.remove_tree(self.directory)

    def _wanted(self, routing: Routing) -> dict[str, str]:
        """The secrets, each with a route that names it."""
        return {r.auth.basic: r.prefix for r in routing.routes if r.auth and r.auth.basic}

    def _text(self, name: str) -> str:
        return self.secrets.variables().get(name, "")


def _lines(text: str, where: str, name: str) -> list[tuple[str, str]]:
    found = [_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if not found or None in found:
        what = "is not set" if not text else "has a line that is not `user:password` with 8 to 256 characters"
        raise ManifestError(
            f"the secret {name} {what}",
            where=where,
            hint=f"one `user:password` a line: pushrod secret set {name} < FILE",
        )
    if len(found) > _MOST:
        raise ManifestError(
            f"the secret {name} has more than {_MOST} lines",
            where=where,
            hint="let the app know its users: `auth: {path: …}` asks it",
        )
    return [(pair[1], pair[2]) for pair in found if pair]


def _hashed(password: str, salt: bytes) -> str:
    """In the form `{SSHA}` that nginx knows. A slow hash would be computed for each request, and guards nothing here:
    the password itself is in the app's secrets, on the same disk and under the same mode."""
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()

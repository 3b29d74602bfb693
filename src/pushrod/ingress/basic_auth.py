"""Password files for routes with basic authentication, made from secrets with lines of `user:password`.

    ROOT/edge/passwords/shop/3f9a07c1…      one `user:{SSHA}…` per line, 0600, owned by nginx's account; never
    changed

A file is named by a keyed digest of its secret, and kept as long as a release that was sealed with it.
"""

import base64
import hashlib
from collections.abc import Collection

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.core.values import Routing
from pushrod.ingress.protocol import Places
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.system import files

_MOST = 500  # lines: nginx searches them for each request
_LINE = lazy(r"([^:\s\x00-\x1f]{1,64}):(\S.{7,255})")


class Passwords:
    """The password files of one app. Creating the value touches no files."""

    def __init__(self, app: App, places: Places) -> None:
        self.secrets = Secrets(app)
        self.directory = places.passwords / app.name
        self._owner = places.owner

    def check(self, routing: Routing) -> None:
        """Raise ManifestError if a route names a secret that is not set or has another format."""
        for name, route in self._named(routing).items():
            _lines(self._text(name), f"routes.{route}.auth.basic", name)

    def write(self, routing: Routing) -> dict[str, str]:
        """Create the missing files; returns the file of each secret, by the secret's name."""
        generations = self.generations(routing)
        for generation, text in self.texts(routing).items():
            path = self.directory / generation
            if not path.exists():
                files.make_open(self.directory)
                files.write(path, text, mode=0o600, owner=self._owner)
        return generations

    def generations(self, routing: Routing) -> dict[str, str]:
        """The file of each secret that a route names, by the secret's name."""
        return {name: self._generation(name) for name in self._named(routing)}

    def texts(self, routing: Routing) -> dict[str, str]:
        """The text of each of these files."""
        rendered = {}
        for name, route in self._named(routing).items():
            generation, pairs = (
                self._generation(name),
                _lines(self._text(name), f"routes.{route}.auth.basic", name),
            )
            salt = bytes.fromhex(self.secrets.digest([generation])[:16])
            rendered[generation] = "".join(f"{user}:{_hashed(password, salt)}\n" for user, password in pairs)
        return rendered

    def _generation(self, name: str) -> str:
        return self.secrets.digest([name, self._text(name)])[:16]

    def remove_unused(self, used: Collection[str]) -> None:
        """Remove the files that no kept release uses."""
        for path in self.directory.glob("*"):
            if path.name not in used:
                path.unlink()

    def remove_all(self) -> None:
        """Remove all password files of the app."""
        files.remove_tree(self.directory)

    def _named(self, routing: Routing) -> dict[str, str]:
        """The secrets that routes name, each with one such route."""
        return {r.auth.basic: r.prefix for r in routing.routes if r.auth and r.auth.basic}

    def _text(self, name: str) -> str:
        return self.secrets.variables().get(name, "")


def _lines(text: str, where: str, name: str) -> list[tuple[str, str]]:
    matches = [_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
    if not matches or None in matches:
        what = "is not set" if not text else "has a line that is not `user:password` with 8 to 256 characters"
        raise ManifestError(
            f"the secret {name} {what}",
            where=where,
            hint=f"one `user:password` per line: pushrod secret set {name} < FILE",
        )
    if len(matches) > _MOST:
        raise ManifestError(
            f"the secret {name} has more than {_MOST} lines",
            where=where,
            hint="let the app check its users: `auth: {path: …}`",
        )
    return [(pair[1], pair[2]) for pair in matches if pair]


def _hashed(password: str, salt: bytes) -> str:
    """The password in nginx's `{SSHA}` format. A slow hash would be computed for each request and protect nothing
    here: the password itself is in the app's secrets, on the same disk with the same mode."""
    digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()

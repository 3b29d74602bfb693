"""An app's certificate: where it comes from, where it is kept, and which of the app's names it covers.

    ROOT/edge/certificates/shop/
      3f9a07c1…/      chain.pem, key.pem, certificate.json; never changed once written
      current         -> the last one seen served
      failure.json    why the last attempt to get a newer one failed; removed by the next success
      orders.json     when the ACME server was asked for one
    ROOT/certbot/     certbot's own files: its account, and the certificates it obtained
    ROOT/authority/   this machine's own authority, made when first needed: chain.pem, key.pem (0600)

This module does not reload the edge: the pipeline does, which holds the app's lock.
"""

import contextlib
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from pushrod.adapters import openssl
from pushrod.adapters.openssl import Described, Pair
from pushrod.core.errors import Ending, Expired, HostError, PushrodError, StateError
from pushrod.core.modules import later
from pushrod.core.site import CHAIN, KEY, Tls
from pushrod.core.times import is_ahead, now, seconds_since
from pushrod.core.values import Diagnostic, Encryption, Release, Value
from pushrod.ingress.protocol import Ingress
from pushrod.state.apps import App
from pushrod.state.records import read_json
from pushrod.system import damaged_paths, files, locks

if TYPE_CHECKING:
    from pushrod.adapters import certbot
else:
    certbot = later("pushrod.adapters.certbot")

_RECORD = "certificate.json"
_AGAIN = (
    3600.0  # seconds after a refusal before a deployment retries: Let's Encrypt accepts five failures an hour
)
_LATE = 1 / 4  # of its lifetime left: renewal, due at a third, has failed for days
_DUE = 1 / 3
_ORDERS = "orders.json"  # when the ACME server issued or refused a certificate
_DAY, _WEEK = 86400.0, 7 * 86400.0
# Let's Encrypt issues fifty a week for one domain and all names below it.
_MOST_A_DAY, _MOST_A_WEEK = 20, 40
_RESTORE = "`pushrod doctor --repair` fixes it"


class Kept(Value, frozen=True):
    """A certificate on this machine, in the directory `generation`, and its source."""

    generation: str
    source: str
    certificate: Described


class Failure(Value, frozen=True):
    """Why and when obtaining a certificate for these names failed."""

    at: str
    names: tuple[str, ...]
    why: str
    hint: str = ""


class Named(Protocol):
    """What a certificate is for: names, and the source they want it from. A release is this."""

    @property
    def domains(self) -> tuple[str, ...]:
        """The names."""

    @property
    def tls(self) -> Encryption:
        """The source."""


class Names(NamedTuple):
    """The names of a site that is no app's."""

    domains: tuple[str, ...]
    tls: Encryption


class Certificates:
    """The certificates of one app. Creating the value touches no files."""

    def __init__(self, app: App) -> None:
        self.app = app
        root = app.root
        self.directory = root.edge / "certificates" / app.name
        self.certbot = root.path / "certbot"
        self.authority = root.path / "authority"
        self.given = app.secrets / "certificate.pem"
        self._current = self.directory / "current"
        self._failure = self.directory / "failure.json"

    # ---- what there is --------------------------------------------------------------------------------------

    def current(self) -> Kept | None:
        """The certificate in place; None before the first."""
        path = self._current / _RECORD
        return read_json(path, Kept, restore=_RESTORE) if path.exists() else None

    def failure(self) -> Failure | None:
        """The last failure, unless an attempt has succeeded since."""
        return read_json(self._failure, Failure, restore=_RESTORE) if self._failure.exists() else None

    def tls(self, release: Release, kept: Kept | None = None) -> Tls | None:
        """The TLS settings that serve a release with `kept`, by default the certificate in place; None if it has no
        TLS.

        If the manifest names another source that has not delivered yet, the old certificate stays in use, unless it
        is from this machine's own authority, which browsers elsewhere do not trust.
        """
        kept, encryption = kept or self.current(), release.tls
        if encryption.source == "off" or kept is None or (kept.source == "local" != encryption.source):
            return None
        names = tuple(d for d in release.domains if kept.certificate.covers(d))
        if release.domains and not names:
            return None
        trusted = kept.source != "local" and not all(map(_is_local, release.domains))
        return Tls(
            generation=kept.generation,
            names=names,
            port=tls_port(self.app.settings.port),
            hsts=encryption.hsts if trusted else 0,
        )

    def url(self, release: Release | None) -> str:
        """The address of an app with this live release, with https if its first name has a certificate."""
        settings = self.app.settings
        domains = release.domains if release else ()
        plain = settings.url(domains)
        tls = self.tls(release) if release else None
        name = next((d for d in domains if not d.startswith("*.")), "")
        if tls is None or (name and name not in tls.names):
            return plain
        return f"https://{name or '127.0.0.1'}" + ("" if tls.port == 443 else f":{tls.port}")

    def lacking(self, release: Release) -> tuple[str, ...]:
        """The names that should have a certificate but do not."""
        tls = self.tls(release)
        return tuple(n for n in names_for(release) if tls is None or n not in (tls.names or (n,)))

    def damage(self) -> Diagnostic | None:
        """The first of these files that cannot be read."""
        try:
            self.failure()
            if self.current() or os.path.lexists(self._current):
                pair = _read(self._current)
                openssl.pair(pair.chain, pair.key)
        except PermissionError:
            return None  # it belongs to another account
        except PushrodError as e:
            where, what = e.where or str(self._current), e.what
        except (OSError, UnicodeDecodeError) as e:
            where, what = str(self._current), getattr(e, "strerror", None) or str(e)
        else:
            return None
        return Diagnostic(f"app {self.app.name}", "broken", f"{where}: {what}", _RESTORE)

    # ---- obtaining one --------------------------------------------------------------------------------------

    def due(self, release: Release) -> bool:
        """Whether a deployment must obtain a certificate. Renewal of one that ends soon is left to the timer."""
        if release.tls.source != "acme":
            return release.tls.source != "off"
        failure, lacking = self.failure(), self.lacking(release)
        again = (
            failure is None
            or failure.names != names_for(release)
            or is_ahead(failure.at)
            or seconds_since(failure.at) > _AGAIN
        )
        return bool(lacking) and again

    def obtain(self, release: Named, ingress: Ingress, *, force: bool = False) -> Kept:
        """Obtain a certificate for the names of a release from its source and store it beside the one in
        place, or return that one if it is still good; `force` renews it anyway.

        Raises HostError and StateError; the reason is kept for `pushrod status`.
        """
        try:
            return self._keep(self._pair(release, ingress, force=force), release.tls.source, ingress)
        except (PushrodError, Expired) as e:
            self.failed(release, e)
            raise

    def put(self, kept: Kept, ingress: Ingress) -> None:
        """Mark a certificate as in place, after it was seen served; remove those that are no longer in use."""
        files.point(self._current, kept.generation)
        self._failure.unlink(missing_ok=True)
        there = [path.name for path in self.directory.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)]
        used = {kept.generation, *ingress.certificates_in_use(self.app.name, there)}
        for old in set(there) - used:
            files.remove_tree(self.directory / old)

    def failed(self, release: Named, error: Ending) -> None:
        """Record why obtaining a certificate failed."""
        failure = Failure(now(), names_for(release), error.what, error.hint)
        files.write(self._failure, msgspec.json.format(msgspec.json.encode(failure)) + b"\n")

    def give(self, pair: Pair) -> Described:
        """Store a certificate and key of the app's owner. Raises StateError if they cannot be served."""
        described = openssl.check(pair)
        files.make_private(self.app.secrets)
        files.write(self.given, pair.chain + pair.key, mode=0o600)
        return described

    def take_back(self) -> bool:
        """Remove the owner's certificate; returns whether there was one."""
        there = self.given.exists()
        self.given.unlink(missing_ok=True)
        return there

    def repair(self) -> list[str]:
        """Make the stored certificate readable again; returns the repairs. Unreadable files are set aside, and the
        next deployment or renewal obtains another certificate.
        """
        aside = [
            damaged_paths.make_way(self.directory, directory=True),
            damaged_paths.make_way(self._failure),
        ]
        if os.path.lexists(self._current) and not self._current.is_symlink():
            aside.append(damaged_paths.set_aside(self._current))
        try:
            self.failure()
        except StateError:
            aside.append(damaged_paths.set_aside(self._failure))
        done = [f"unreadable certificate files are kept as {path.name}" for path in aside if path]
        if not self._current.is_symlink():
            return done
        place = self._current.parent / self._current.readlink()
        try:
            pair = _read(place)
            described = openssl.match(pair)
        except PermissionError:
            raise
        except (PushrodError, OSError, UnicodeDecodeError):
            self._current.unlink()
            kept = damaged_paths.set_aside(place).name if os.path.lexists(place) else ""
            return [*done, "its certificate cannot be read" + (f", and is kept as {kept}" if kept else "")]
        with contextlib.suppress(StateError):
            current = self.current()
            if current and (current.generation, current.certificate) == (place.name, described):
                return done
        damaged_paths.make_way(place / _RECORD)
        self._record(Kept(place.name, self._source(pair), described))
        return [*done, "the record of its certificate was rebuilt"]

    def _source(self, pair: Pair) -> str:
        """The source of a certificate, determined from the files that exist."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if pair.chain.endswith((self.authority / CHAIN).read_text()):
                return "local"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if self.given.read_text().startswith(pair.chain):
                return "files"
        return "acme"

    def remove_all(self) -> None:
        """Remove everything about an app's certificates that is stored outside its own directory."""
        files.remove_tree(self.directory)
        certbot.delete(self.app.name, self.certbot)

    def _pair(self, release: Named, ingress: Ingress, *, force: bool) -> Pair:
        if release.tls.source == "acme":
            request = certbot.Request(self.app.name, names_for(release), release.tls.email, force)
            for directory in (self.certbot, ingress.places.challenges):
                directory.mkdir(parents=True, exist_ok=True)
            self.certbot.chmod(0o700)
            return self._ordered(lambda: certbot.obtain(request, self.certbot, ingress.places.challenges))
        return self._given() if release.tls.source == "files" else self._local(release, force=force)

    def _ordered(self, obtain: Callable[[], Pair]) -> Pair:
        """Call the ACME server, and count the certificate unless it is the one in place.

        All apps share one account there, and may share a domain, and the server limits both by the week. So each app
        has a share. Raises HostError once it is used up.
        """
        path, kept = self.directory / _ORDERS, None
        with contextlib.suppress(StateError):  # a damaged one is about to be replaced
            kept = self.current()
        before: list[str] = []
        with contextlib.suppress(OSError, msgspec.DecodeError):
            before = msgspec.json.decode(path.read_bytes(), type=list[str])
        before = [at for at in before if seconds_since(at) < _WEEK]
        today = sum(seconds_since(at) < _DAY for at in before)
        if today >= _MOST_A_DAY or len(before) >= _MOST_A_WEEK:
            raise HostError(
                f"the app has asked for {today} certificates in a day and {len(before)} in a week; it may ask for "
                f"{_MOST_A_DAY} and {_MOST_A_WEEK}, because all apps share one account at the ACME server",
                where=f"app {self.app.name}",
                hint="the certificate in use stays; wait, or store your own: pushrod cert set",
            )
        pair = None
        try:
            pair = obtain()
        finally:
            if pair is None or kept is None or openssl.describe(pair.chain) != kept.certificate:
                files.write(path, msgspec.json.encode([*before, now()]))
        return pair

    def _given(self) -> Pair:
        if not self.given.exists():
            raise StateError(
                "the manifest requires your own certificate, and none is stored",
                where=f"app {self.app.name}",
                hint=f"pushrod cert set --app {self.app.name} --certificate FILE --key FILE",
            )
        return openssl.pair(self.given.read_text())

    def _local(self, release: Named, *, force: bool) -> Pair:
        kept, names = self.current(), names_for(release)
        does = kept and kept.source == "local" and set(kept.certificate.names) >= set(names)
        if kept and does and not force and not _ends(kept.certificate, _DUE):
            return _read(self._current)
        return openssl.issue(self._authority(), names, ("127.0.0.1", "::1"))

    def _authority(self) -> Pair:
        with locks.lock(self.authority / "lock", purpose="creating an authority", timeout=60):
            if not (self.authority / CHAIN).exists():
                made = openssl.authority(f"pushrod on {platform.node()}")
                files.write(self.authority / KEY, made.key, mode=0o600)
                files.write(self.authority / CHAIN, made.chain)
            return _read(self.authority)

    def _keep(self, pair: Pair, source: str, ingress: Ingress) -> Kept:
        """Write a certificate into its own directory, the record last; an existing one is not replaced."""
        described = openssl.check(pair)
        kept = Kept(described.fingerprint[:16], source, described)
        place = self.directory / kept.generation
        if not (place / _RECORD).exists() or _read(place).key != pair.key:
            files.write(place / CHAIN, pair.chain)
            files.write(place / KEY, pair.key, mode=0o600, owner=ingress.places.owner)
        self._record(kept)
        return kept

    def _record(self, kept: Kept) -> None:
        path = self.directory / kept.generation / _RECORD
        files.write(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")


def tls_port(port: int) -> int:
    """The TLS port that belongs to a plain one: 443 for 80, 8443 for 8000."""
    return 443 if port == 80 else port + 443


def names_for(release: Named) -> tuple[str, ...]:
    """The names a release's certificate is for: its domains, or this machine's names if it has none. With ACME,
    only the names that a web server can prove."""
    if release.tls.source == "off":
        return ()
    if release.tls.source == "acme":
        return tuple(d for d in release.domains if not d.startswith("*.") and not _is_local(d))
    return release.domains or ("localhost", "*.localhost")


def examine(app: App, release: Release | None) -> Iterator[Diagnostic]:
    """A diagnostic for names without a certificate, and for one that ends soon and was not renewed."""
    if release is None or release.tls.source == "off" or app.settings.down:
        return
    what, certificates = f"app {app.name}", Certificates(app)
    if damage := certificates.damage():
        yield damage
        return
    kept, failure, lacking = certificates.current(), certificates.failure(), certificates.lacking(release)
    why = f": {failure.why}" if failure else ""
    repair = (failure.hint if failure else "") or f"pushrod cert renew --app {app.name}"
    if lacking:
        yield Diagnostic(what, "warning", f"no certificate for {', '.join(lacking)}{why}", repair)
    elif kept and kept.certificate.left <= 0:
        yield Diagnostic(
            what, "broken", f"its certificate expired on {kept.certificate.ends[:10]}{why}", repair
        )
    elif kept and (_ends(kept.certificate, _LATE) or failure):
        yield Diagnostic(
            what, "warning", f"its certificate ends on {kept.certificate.ends[:10]}{why}", repair
        )


def _read(place: Path) -> Pair:
    return Pair((place / CHAIN).read_text(), (place / KEY).read_text())


def _ends(certificate: Described, part: float) -> bool:
    """Whether less than this part of its lifetime is left."""
    return certificate.left < certificate.lifetime * part


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")

"""The app's site at the edge: which release it sends requests to, and with which certificate."""

from pushrod.core.errors import EdgeError, PushrodError
from pushrod.core.site import DRAIN_BUDGET, Site
from pushrod.core.values import Release
from pushrod.ingress import certificates, claims
from pushrod.ingress.certificates import Kept
from pushrod.ingress.protocol import Drain, Ingress
from pushrod.releases import scrape_targets
from pushrod.releases.context import Context

DRAIN = DRAIN_BUDGET - 10.0
"""Seconds that requests have to finish before their instances get SIGTERM. Together with Compose's default
stop_grace_period this is shorter than what nginx gives its old workers: only the app can end a WebSocket with a Close
frame, and only while its nginx worker lives.
"""


def _addresses(release: Release, service: str) -> tuple[str, ...]:
    """The addresses of a service's instances."""
    return tuple(f"{i.address}:{i.port}" for i in release.instances_of(service))


class Serving:
    """One app's site at the edge."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._app = context.app

    @property
    def _ingress(self) -> Ingress:
        return self._context.engine.ingress

    def site(self, release: Release, kept: Kept | None = None) -> Site:
        """What the edge must know to serve a release; `kept` is the certificate to use."""
        app = self._app
        return Site(
            app=app.name,
            release=release.number,
            port=app.settings.port,
            backends=_addresses(release, release.entry),
            domains=release.domains,
            tls=self._context.certificates.tls(release, kept),
            challenges=release.tls.source == "acme",
            entry=release.entry,
            others={s: _addresses(release, s) for s in release.routing.services if s != release.entry},
            routing=release.routing,
            passwords=release.passwords,
            maintenance=app.settings.maintenance,
            ready_marker=self._ingress.ready_marker(app, release.number),
        )

    def names(self, release: Release) -> tuple[str, ...]:
        """The host names that a release claims."""
        return claims.requested_names(release.domains, self._app.settings.port)

    def served(self) -> int | None:
        """The release that the edge serves; 0 if none, None if that cannot be read."""
        try:
            site = self._ingress.site(self._app.name)
        except PushrodError:
            return None
        return site.release if site else 0

    def agrees(self, release: Release) -> bool:
        """Whether the edge serves exactly this release."""
        return self._ingress.site(self._app.name) == self.site(release)

    def switch(self, release: Release | None) -> Drain:
        """Switch the edge to a release, or to none."""
        kept = [*self._context.releases.numbers(), *([release.number] if release else [])]
        self._context.sealing.static.pool(kept)
        switched = self._ingress.switch(self._app.name, self.site(release) if release else None)
        try:
            scrape_targets.write(self._app, release)
        except OSError as e:  # the edge has switched: that counts
            self._context.progress.note(f"Prometheus's list of targets was not written: {e}")
        return switched

    def drain(self, switch: Drain) -> None:
        """Wait until the requests in progress at a switch have ended, for DRAIN seconds at most."""
        switch.wait(DRAIN)

    def lead_back(self, previous: int) -> None:
        """Switch the edge back to the previous release, or to none; does nothing if it never switched."""
        if previous and self.served() == previous and self._context.readable(previous) is None:
            return
        before = self._context.releases.read(previous) if previous else None
        self.drain(self.switch(before))

    def certify(self, release: Release, *, force: bool = False) -> tuple[Kept, Drain]:
        """Obtain a certificate for a release, renew it if due or with `force`, and have the edge serve it."""
        names = ", ".join(certificates.names_for(release))
        with self._context.step("tls", names) as step:
            kept = self._context.certificates.obtain(release, self._ingress, force=force)
            switched = self._show(release, kept)
            self._context.certificates.put(kept, self._ingress)
            step.detail = f"{names}, until {kept.certificate.ends[:10]}"
        return kept, switched

    def _show(self, release: Release, kept: Kept) -> Drain:
        """Serve a certificate and check that clients receive it; if not, serve the previous one again."""
        ingress = self._ingress
        before, site = ingress.site(self._app.name), self.site(release, kept)
        switched = ingress.switch(self._app.name, site)
        if site.tls is None or (shown := ingress.certificate_shown(site)) == kept.certificate.fingerprint:
            return switched
        ingress.switch(self._app.name, before)
        error = EdgeError(
            f"the edge shows {'another' if shown else 'no'} certificate after the switch",
            where=f"port {site.tls.port}, {', '.join(site.tls.names)}",
            hint=f"see which one: openssl s_client -connect 127.0.0.1:{site.tls.port}; "
            "another server may have the port",
        )
        self._context.certificates.failed(release, error)
        raise error

"""The site of the host itself at the edge: the web page at its domain, and its certificate.

It has no app's name, so its certificate is kept and renewed like an app's: below `edge/certificates/_page`.
"""

import contextlib
from collections.abc import Iterator

from pushrod.adapters import systemd
from pushrod.adapters.nginx import Edge, OwnSite
from pushrod.core.errors import EdgeError, PushrodError
from pushrod.core.values import Diagnostic, Encryption
from pushrod.engines.front_gate import EdgeIngress
from pushrod.ingress.certificates import Certificates, Kept, Names
from pushrod.state.apps import App, Root
from pushrod.system import locks, waits

PAGE = "_page"
SOCKET = str(systemd.RUNTIME / "web")
"""The unix socket of the web page, on which systemd listens for the edge."""

_PATIENCE = 10.0  # seconds until the edge shows a new certificate
_RENEW = "systemctl start pushrod-renew"


def of(root: Root) -> dict[str, OwnSite | None]:
    """The sites as the settings want them, each with the certificate in place if it is for the name."""
    domain = root.own_domain
    if not domain:
        return {PAGE: None}
    kept = None
    with contextlib.suppress(PushrodError, OSError):
        kept = certificates(root).current()
    generation = kept.generation if kept and domain in kept.certificate.names else ""
    return {PAGE: OwnSite(PAGE, domain, SOCKET, generation)}


def certificates(root: Root) -> Certificates:
    """Those of the page."""
    return Certificates(App(root, PAGE))


def certify(root: Root, edge: Edge, *, force: bool = False) -> Kept | None:
    """Obtain the page's certificate, or renew it if it is due, and have the edge serve it; None without a domain.

    Raises HostError if it cannot be obtained, EdgeError if the edge does not serve it; the previous one stays.
    """
    settings = root.host_settings
    if settings is None or not settings.domain:
        return None
    ingress, kept_by = EdgeIngress(lambda: edge), certificates(root)
    names = Names((settings.domain,), Encryption("acme", settings.email))
    with locks.lock(root.runtime / "page.lock", purpose="renewing the page's certificate", timeout=600.0):
        before = of(root)
        kept = kept_by.obtain(names, ingress, force=force)
        site = OwnSite(PAGE, settings.domain, SOCKET, kept.generation)
        edge.refresh({PAGE: site})
        if not waits.wait_until(
            lambda: edge.serves_own(site) == kept.certificate.fingerprint, _PATIENCE, 0.1
        ):
            edge.refresh(before)
            error = EdgeError("the edge does not show the page's new certificate", where=settings.domain)
            kept_by.failed(names, error)
            raise error
        kept_by.put(kept, ingress)
        return kept


def forget(root: Root) -> None:
    """Remove the page's certificates."""
    certificates(root).remove_all()


def examine(root: Root) -> Iterator[Diagnostic]:
    """A diagnostic for a page at a domain without a valid certificate."""
    settings = root.host_settings
    if settings is None or not settings.domain:
        return
    what = f"the page at {settings.domain}"
    try:
        kept, failure = certificates(root).current(), certificates(root).failure()
    except PushrodError as e:
        yield Diagnostic(what, "broken", str(e), _RENEW)
        return
    why = f": {failure.why}" if failure else ""
    if kept is None or settings.domain not in kept.certificate.names:
        yield Diagnostic(what, "warning", f"no certificate{why}", _RENEW)
    elif kept.certificate.left <= 0:
        yield Diagnostic(
            what, "broken", f"its certificate expired on {kept.certificate.ends[:10]}{why}", _RENEW
        )
    elif failure:
        yield Diagnostic(
            what, "warning", f"its certificate ends on {kept.certificate.ends[:10]}{why}", _RENEW
        )
    else:
        yield Diagnostic(what, "ok", f"certificate until {kept.certificate.ends[:10]}")

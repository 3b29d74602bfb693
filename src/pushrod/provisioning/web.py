"""The web page of a host, started by systemd when somebody asks for it: on or off."""

import importlib.util
from typing import NamedTuple

import msgspec

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.core.patterns import lazy
from pushrod.engines.docker import own_sites
from pushrod.ingress import claims
from pushrod.manifest import domains
from pushrod.provisioning import host_settings, units
from pushrod.state.apps import Root
from pushrod.system import files

USUAL = 9181
"""The port on 127.0.0.1 unless another is given."""

SOCKETS = ("pushrod-web.socket", "pushrod-web-call.socket")
_SERVICE = "pushrod-web.service"
_EMAIL = lazy(r"[^@\s]{1,64}@[A-Za-z0-9.-]{1,190}")
_ALL = (*SOCKETS, _SERVICE, "pushrod-web-call@.service")


class Domain(NamedTuple):
    """Where the edge serves the page, with TLS (empty: nowhere), and the address that its authority may write to."""

    name: str = ""
    email: str = ""


def turn_on(root: Root, port: int, domain: Domain | None = None) -> None:
    """Have systemd listen on a port of loopback, and start the page at the first request. With a `domain` the edge
    serves it there too (None: as before); its certificate comes later, by `own_sites.certify`.

    Raises HostError if this machine is not a host or another program has the port, EdgeError if an app has the
    domain; then nothing has changed.
    """
    settings = host_settings.read(root)
    there = Domain(settings.domain, settings.email)
    domain = there if domain is None else domain
    _check_domain(domain)
    if importlib.util.find_spec("starlette") is None:
        raise HostError(
            "the page needs Starlette, which is not installed", hint="pushrod host init installs it"
        )
    host_settings.check_port(port, settings.web, "choose another: pushrod host web on --port N")
    claims.check_free(root, domain.name)
    settings = msgspec.structs.replace(settings, web=port, domain=domain.name, email=domain.email)
    host_settings.write(root, settings)
    if domain.name != there.name:
        _move(root)
    for item in units.web(root, settings):
        if item.change.pending:
            item.carry_out()
    systemd.call("daemon-reload")
    systemd.call("stop", _SERVICE)
    systemd.call("enable", *SOCKETS)
    systemd.call("restart", *SOCKETS)


def _check_domain(domain: Domain) -> None:
    """Raise HostError for a name that no public authority certifies, or that is none."""
    if not domain.name:
        return
    name, why = domain.name, ""
    try:
        good = domains.normal(name) == name and "." in name and not name.startswith("*.")
    except ValueError as e:
        good, why = False, str(e)
    if not good or name.endswith(".localhost"):
        hint = why or "a name in DNS that leads to this server, such as page.example.com"
        raise HostError(f"`{name}` cannot be the page's domain", hint=hint)
    if domain.email and not _EMAIL.fullmatch(domain.email):
        raise HostError(f"`{domain.email}` is no mail address")


def _move(root: Root) -> None:
    """Serve the page at another domain, or at none: without a certificate at first."""
    units.prepare_edge(root)
    own_sites.forget(root)


def turn_off(root: Root) -> None:
    """End the page, and listen no longer; members stay. Raises HostError if this machine is not a host."""
    settings = host_settings.read(root)
    if settings.web:
        systemd.call("disable", "--now", *SOCKETS)
        systemd.call("stop", _SERVICE)
        for name in _ALL:
            files.remove(systemd.DIRECTORY / name)
        systemd.call("daemon-reload")
        host_settings.write(root, msgspec.structs.replace(settings, web=0, domain="", email=""))
        if settings.domain:
            _move(root)

"""The web page of a host, started by systemd when somebody asks for it: on or off."""

import importlib.util

import msgspec

from pushrod.adapters import systemd
from pushrod.core.errors import HostError
from pushrod.provisioning import host_settings, units
from pushrod.state.apps import Root
from pushrod.system import files

USUAL = 9181
"""The port on 127.0.0.1 unless another is given."""

SOCKETS = ("pushrod-web.socket", "pushrod-web-call.socket")
_SERVICE = "pushrod-web.service"
_ALL = (*SOCKETS, _SERVICE, "pushrod-web-call@.service")


def turn_on(root: Root, port: int) -> None:
    """Have systemd listen on a port of loopback, and start the page at the first request.

    Raises HostError if this machine is not a host or another program has the port; then nothing has changed.
    """
    settings = host_settings.read(root)
    if importlib.util.find_spec("starlette") is None:
        raise HostError(
            "the page needs Starlette, which is not installed", hint="pushrod host init installs it"
        )
    host_settings.check_port(port, settings.web, "choose another: pushrod host web on --port N")
    settings = msgspec.structs.replace(settings, web=port)
    host_settings.write(root, settings)
    for item in units.web(root, settings):
        if item.change.pending:
            item.carry_out()
    systemd.call("daemon-reload")
    systemd.call("stop", _SERVICE)
    systemd.call("enable", *SOCKETS)
    systemd.call("restart", *SOCKETS)


def turn_off(root: Root) -> None:
    """End the page, and listen no longer; members stay. Raises HostError if this machine is not a host."""
    settings = host_settings.read(root)
    if settings.web:
        systemd.call("disable", "--now", *SOCKETS)
        systemd.call("stop", _SERVICE)
        for name in _ALL:
            files.remove(systemd.DIRECTORY / name)
        systemd.call("daemon-reload")
        host_settings.write(root, msgspec.structs.replace(settings, web=0))

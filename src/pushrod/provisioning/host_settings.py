"""The settings of a host, host.json, as its owner changes them."""

import msgspec

from pushrod.core.errors import HostError
from pushrod.state.apps import HostSettings, Root
from pushrod.system import files, network


def not_a_host(root: Root) -> HostError:
    """The error of a command that needs a prepared host."""
    return HostError("this machine is not a host yet", where=str(root.path), hint="pushrod host init")


def read(root: Root) -> HostSettings:
    """The settings. Raises HostError if this machine is not a host, StateError if they are damaged."""
    settings = root.host_settings
    if settings is None:
        raise not_a_host(root)
    return settings


def write(root: Root, settings: HostSettings) -> None:
    """Replace the settings atomically; the file keeps its owner and mode."""
    status = root.host_settings_path.stat()
    encoded = msgspec.json.format(msgspec.json.encode(settings))
    owner = (status.st_uid, status.st_gid)
    files.write(root.host_settings_path, encoded, mode=status.st_mode & 0o777, owner=owner)


def check_port(port: int, current: int, advice: str) -> None:
    """Raise HostError if another program has a port of loopback; `current` is the one that is ours already (0: none),
    and `advice` what the owner can do.
    """
    if port != current and network.accepts(port):
        raise HostError(
            f"another program listens on port {port} of 127.0.0.1",
            hint=f"`ss -ltnp sport = :{port}` shows which; {advice}",
        )

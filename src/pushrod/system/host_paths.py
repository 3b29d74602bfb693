"""Paths of a Docker host that pushrod and the programs below ROOT share.

Standard library only, and copied below ROOT beside these programs.
"""

from pathlib import Path

RUNTIME = Path("/run/pushrod")
"""A directory for each app whose stores are healthy; gone after a reboot, because /run is."""

UNITS = Path("/etc/systemd/system")
"""Where an administrator's units are (systemd.unit(5))."""

WANTS = UNITS / "pushrod.target.wants"
"""Holds a link for each app that comes back at boot; it belongs to the account, which deploys without root."""

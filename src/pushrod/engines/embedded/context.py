"""What the parts of the embedded engine share: programs, the account of its children, supervisor, edge."""

import os
from functools import cached_property
from pathlib import Path

from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import Bounds, Edge
from pushrod.adapters.systemd import BootUnit
from pushrod.engines.embedded.stores import Stores
from pushrod.engines.embedded.supervisor import Supervisor
from pushrod.state.apps import App, Root
from pushrod.system import accounts, processes

SYSTEM = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""The environment of the engine's own processes: the same for every caller, because a difference would restart
them.
"""


class Context:
    """The parts of a root. Creating the value starts nothing."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.parts = Parts()

    @cached_property
    def account(self) -> accounts.Account | None:
        """The account that the children run as; None if it is our own."""
        return accounts.child_account(
            [self.root.path, Path(os.__file__), self.parts.nginx, self.parts.postgres]
        )

    @cached_property
    def supervisor(self) -> Supervisor:
        """The process manager of this root."""
        return Supervisor(self.root.supervisor, self.root.runtime, self.account, self.boot_unit)

    @property
    def boot_unit(self) -> BootUnit:
        """The systemd unit that starts this root at boot, if its user has installed it."""
        return BootUnit.of(self.root.path)

    @cached_property
    def edge(self) -> Edge:
        """The nginx of this root."""
        bounds = Bounds(files=min(Bounds().files, processes.most_files()))
        return Edge(self.parts.nginx, self.root.edge, self.root.runtime / "edge", self.account, bounds=bounds)

    def stores(self, app: App) -> Stores:
        """The stores of an app."""
        return Stores(app, self.parts, self.account, SYSTEM)


def group(app: App, number: int) -> str:
    """The name of a release's group in the supervisor."""
    return f"{app.name}-r{number}"

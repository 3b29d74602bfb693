"""What the parts of the docker engine share: the host's settings, and its edge."""

from functools import cached_property

from pushrod.adapters import nginx
from pushrod.core.errors import HostError
from pushrod.engines import machine
from pushrod.state.apps import HostSettings, Root

PORT = 80
"""The address at which the edge always answers."""


class Context:
    """The root of a host. Creating the value starts nothing; its edge is known before `pushrod host init` has run."""

    def __init__(self, root: Root) -> None:
        self.root = root

    @cached_property
    def settings(self) -> HostSettings:
        """The settings that `pushrod host init` wrote. Raises HostError if it has not run."""
        settings = self.root.host_settings
        if settings is None:
            raise HostError("no Docker host", where=str(self.root.path), hint="as root: pushrod host init")
        return settings

    @cached_property
    def edge(self) -> nginx.Edge:
        """The host's nginx."""
        program, runtime = self.root.programs / "nginx", self.root.runtime / "edge"
        its = machine.of(self.root)
        bounds = nginx.Bounds(requests=its.client_requests, uploads=its.client_uploads, app=its.app_requests)
        settings = self.root.host_settings
        return nginx.Edge(
            program,
            self.root.edge,
            runtime,
            addresses=nginx.everywhere(),
            port=PORT,
            bounds=bounds,
            metrics=settings.metrics if settings else 0,
        )

"""The docker engine: implements the engine protocols with Docker and Compose; systemd starts apps at boot.

Between deployments nothing of pushrod runs, except an app's builder for a minute after a build. A release is a
compose project `<app>-r<number>` on its own networks, its stores are the project `<app>`. Each is a plain file in the
app's state repository (`rendering`), and deployments and boots start it in the same way (`bring_up`). The edge is the
host's own nginx, run by systemd.
"""

from pushrod.core.traits import DOCKER
from pushrod.engines.docker import names
from pushrod.engines.docker.context import Context
from pushrod.engines.docker.imaging import Imaging
from pushrod.engines.docker.platform import Platform
from pushrod.engines.docker.programs import Programs
from pushrod.engines.docker.resources import Resources
from pushrod.engines.docker.runtime import Runtime
from pushrod.engines.docker.storage import Storage, Upgrades
from pushrod.engines.front_gate import EdgeIngress
from pushrod.engines.protocols import Engine
from pushrod.state.apps import App, Root


def of(root: Root) -> Engine:
    """The engine of a host's root; starts nothing."""
    context = Context(root)
    return Engine(
        root=root,
        traits=DOCKER,
        platform=Platform(context),
        images=Imaging(),
        resources=Resources(context),
        runtime=Runtime(context),
        programs=Programs(),
        stores=Storage(),
        upgrades=Upgrades(),
        ingress=EdgeIngress(lambda: context.edge, _ready_marker),
    )


def _ready_marker(app: App, number: int) -> str:
    """A marker in the app's gate, on tmpfs: after a reboot the edge waits until the release has proved healthy."""
    return str(names.up(app, number))

"""The embedded engine: real nginx, PostgreSQL and Valkey, and the app itself, as supervised processes.

Needs neither Docker nor root. A release's group in the supervisor is `<app>-r<number>`, a store's `<app>_<store>`,
the edge's `edge`; each is a plain file, so supervisord alone can start everything.
"""

from pushrod.core.traits import EMBEDDED
from pushrod.engines.embedded.context import Context
from pushrod.engines.embedded.imaging import Imaging
from pushrod.engines.embedded.platform import Platform
from pushrod.engines.embedded.programs import Programs
from pushrod.engines.embedded.resources import Resources
from pushrod.engines.embedded.runtime import Runtime
from pushrod.engines.embedded.storage import Storage, Upgrades
from pushrod.engines.front_gate import EdgeIngress
from pushrod.engines.protocols import Engine
from pushrod.state.apps import Root


def of(root: Root) -> Engine:
    """The engine of a root; starts nothing."""
    return compose(Context(root))


def compose(context: Context) -> Engine:
    """The engine whose parts share this context."""
    programs = Programs(context)
    return Engine(
        root=context.root,
        traits=EMBEDDED,
        platform=Platform(context),
        images=Imaging(context),
        resources=Resources(context),
        runtime=Runtime(context, programs),
        programs=programs,
        stores=Storage(context),
        upgrades=Upgrades(context),
        ingress=EdgeIngress(lambda: context.edge),
    )

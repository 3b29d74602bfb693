"""Properties in which engines differ. Code outside `engines/` asks for these and never compares an engine's name."""

from pushrod.core.values import EngineName, Value


class EngineTraits(Value, frozen=True):
    """The properties of an engine.

    - `hosted`: the root belongs to the account of a server that `pushrod host init` prepared; developers reach it
      over SSH, and timers take backups and renew certificates.
    - `by_domain`: apps share the front gate's ports and are distinguished by their domains; else each app has its own
      port.
    - `containers`: services and stores run in containers, each from its image; else services are processes of this
      machine, and the engine provides the stores.
    - `needs_work_tree`: `apps create` needs a repository on this machine.
    - `takes_images`: images can be loaded from files.
    """

    name: EngineName
    hosted: bool = False
    by_domain: bool = False
    needs_work_tree: bool = False
    containers: bool = False
    takes_images: bool = False


EMBEDDED = EngineTraits("embedded", needs_work_tree=True)
DOCKER = EngineTraits("docker", hosted=True, by_domain=True, containers=True, takes_images=True)
BY_NAME: dict[EngineName, EngineTraits] = {traits.name: traits for traits in (EMBEDDED, DOCKER)}

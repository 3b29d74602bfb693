"""The differences between the engines that code outside of `engines/` depends on; replaces comparisons of names."""

from pushrod.core.values import EngineName, Value


class EngineTraits(Value, frozen=True):
    """The properties of an engine.

    - `hosted`: its root is a server's, prepared by `pushrod host init`, which belongs to an account of its own and is
      reached by keys over SSH; timers see to backups and certificates.
    - `by_domain`: apps share the front gate's ports and are told apart by their domains; else each has its own port.
    - `containers`: services and stores run in containers, each from its image; else services are processes of this
      machine, and stores are the engine's own.
    - `needs_work_tree`: an app is made for a repository on this machine.
    - `takes_images`: images can be given to it as files.
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

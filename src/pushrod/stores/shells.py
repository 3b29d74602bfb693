"""A store's own client, for people: psql, redis-cli."""

import os
from collections.abc import Mapping, Sequence

from pushrod.core.errors import StoreError
from pushrod.core.values import Program
from pushrod.stores.kinds import ContainerStore

_MOST = 8  # clients of one app

# A client's container: it holds only the image, may start few programs, and reaches the app's stores alone.
_APART = (
    "--rm", "--interactive", "--pull=never", "--read-only", "--tmpfs=/tmp", "--user=65534:65534", "--workdir=/tmp",
    "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=64", "--memory=256m", "--memory-swap=256m",
    "--log-driver=none", "--env=HOME=/tmp", "--no-healthcheck", "--oom-score-adj=500",
)  # fmt: skip


def apart(
    store: ContainerStore, program: str, words: Sequence[str], variables: Mapping[str, str], *, terminal: bool
) -> Program:
    """A client of a store's image in a container of its own.

    In the server's container it would be the superuser's neighbour: psql can start programs, and the socket trusts
    every role. The container counts against the app's limits, and the oldest ends if there are too many: its program
    is the image's, which may go on when the call is cut off. Raises StoreError if the store does not run.
    """
    from pushrod.adapters import docker

    running = docker.inspect([store.container])
    if not running or not running[0].running:
        raise StoreError(
            "the store does not run", where=f"container {store.container}", hint="`pushrod status` shows why"
        )
    docker.make_room({docker.CLIENT: store.app}, _MOST)
    limits = [f"--label={docker.CLIENT}={store.app}"]
    limits += [f"--cgroup-parent={running[0].slice}"] if running[0].slice else []
    given = dict(variables) | terminal_variables()
    passed = [word for name in given for word in ("--env", name)]  # the values stay out of argv
    tty = ["--tty"] if terminal else []
    network = f"--network={store.app}"
    argv = (
        "docker",
        "run",
        *_APART,
        *limits,
        *tty,
        network,
        *passed,
        f"--entrypoint={program}",
        running[0].image,
        *words,
    )
    return Program(argv, "/", {**docker.environment(), **given})


def terminal_variables() -> dict[str, str]:
    """What a client must know of the user's terminal."""
    return {"TERM": os.environ.get("TERM", "dumb")}

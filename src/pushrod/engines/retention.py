"""What engines keep of older releases: as many as fit into an app's share, and the last logs."""

from collections.abc import Collection, Sequence

from pushrod.state.apps import App
from pushrod.system import files

_LOGS = 5  # failed and pruned releases whose logs are kept


def excess(live: int, older: Sequence[int], most: int) -> int:
    """How many of the older releases, from the oldest, are beyond an app's share.

    The sizes are in ports or addresses. The live release counts twice, because the next one runs beside it.
    """
    total, gone = 2 * live + sum(older), 0
    while gone < len(older) and total > most:
        total, gone = total - older[gone], gone + 1
    return gone


def remove_old_logs(app: App, kept: Collection[int]) -> None:
    """Remove the logs of all but the kept releases and the last few before the newest of them."""
    for directory in app.logs.glob("r*"):
        number = int(directory.name[1:])
        if number not in kept and number < max(kept, default=0) - _LOGS:
            files.remove_tree(directory)

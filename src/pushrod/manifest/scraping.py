"""A service's `x-pushrod.metrics`: where its instances serve metrics of their own. Pure."""

from pushrod.core.patterns import lazy
from pushrod.manifest.document import Key

_PATH = lazy(r"/[!-~]{0,199}")


def read(key: Key, port: int) -> tuple[int, str] | None:
    """The port and the path; None if there are none. `port` is the service's own, which is the default. Raises
    ManifestError for anything else."""
    if not key.given:
        return None
    key.only("path", "port")
    chosen = key.get("port").whole(port, least=1, most=65535)
    if not chosen:
        key.wrong("a `port`, because the service publishes none")
    path = key.get("path").text() or "/metrics"
    if not _PATH.fullmatch(path):
        key.get("path").wrong("a path such as /metrics")
    return chosen, path

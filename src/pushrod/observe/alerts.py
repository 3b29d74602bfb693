"""Alerts that fire in a Prometheus: the alarm reports them like what pushrod itself finds, to the same recipients.

    ROOT/alarm/prometheus.json  the address of that Prometheus

Of pushrod's own rules, those that only repeat what `pushrod doctor` finds are left out, and failed deployments, which
are announced.
"""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushrod.core.errors import HostError, PushrodError
from pushrod.core.values import Diagnostic, Value
from pushrod.state.apps import Root
from pushrod.state.records import read_json
from pushrod.system import files

REPEATED = frozenset(
    f"Pushrod{name}"
    for name in (
        *("AppDown", "AppUnreadable", "BackupLate", "BackupMissing", "BackupUnproven", "CertificateEnds"),
        *("DeploymentFailed", "WalStuck"),
    )
)
"""The rules whose alerts are left out."""

_TIMEOUT = 10.0  # seconds
_MOST = 4 << 20  # bytes of an answer
_SHOWN = 50  # alerts at most


class _Server(Value, frozen=True):
    url: str


class _Alert(msgspec.Struct):
    state: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Alerts(msgspec.Struct):
    alerts: list[_Alert]


class _Answer(msgspec.Struct):
    data: _Alerts


def server(root: Root) -> str:
    """The address of the Prometheus whose alerts are reported; empty for none."""
    path = _path(root)
    return (
        read_json(path, _Server, restore="`pushrod host alarm prometheus URL`").url if path.exists() else ""
    )


def choose(root: Root, url: str) -> None:
    """Set the address; empty for none. Raises HostError unless a Prometheus answers there."""
    if not url:
        files.remove(_path(root))
        return
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise HostError("it is not the address of a Prometheus", hint="such as http://127.0.0.1:9090")
    _read(url)
    files.make_private(_path(root).parent)
    files.write(_path(root), msgspec.json.encode(_Server(url)), mode=0o600)


def firing(root: Root) -> Iterator[Diagnostic]:
    """A diagnostic for each alert that fires, or one if Prometheus cannot be read."""
    try:
        url = server(root)
        alerts = _read(url) if url else []
    except PushrodError as e:
        yield Diagnostic("prometheus", "broken", e.what, e.hint)
        return
    for alert in alerts[:_SHOWN]:
        name = alert.labels.get("alertname", "")
        if alert.state != "firing" or name in REPEATED:
            continue
        summary = alert.annotations.get("summary") or alert.annotations.get("description") or ""
        own = alert.labels.get("app", "") if name.startswith("Pushrod") else ""
        critical = alert.labels.get("severity") == "critical"
        yield Diagnostic(
            f"app {own}" if own else "prometheus",
            "broken" if critical else "warning",
            f"{name}: {' '.join(summary.split())[:500]}",
            f"{url}/alerts shows it",
        )


def _path(root: Root) -> Path:
    return root.path / "alarm" / "prometheus.json"


def _read(url: str) -> list[_Alert]:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/alerts", timeout=_TIMEOUT) as answer:  # noqa: S310  checked
            raw = answer.read(_MOST)
        return msgspec.json.decode(raw, type=_Answer).data.alerts
    except (OSError, ValueError, urllib.error.HTTPError) as e:
        raise HostError(
            f"no Prometheus answers: {getattr(e, 'reason', e)}", where=url, hint=f"does it run at {url}?"
        ) from None

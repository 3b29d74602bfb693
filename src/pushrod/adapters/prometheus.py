"""Prometheus: its configuration on a host, the rules for pushrod's metrics, its list of targets (`file_sd`). Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pushrod.adapters.templates import beside, fill


class Target(NamedTuple):
    """A server of metrics: its address as `host:port`, its path, and what labels its samples."""

    address: str
    path: str
    labels: Mapping[str, str]


def rules() -> str:
    """The recording and alert rules, as a file for `rule_files`."""
    return beside(__file__, "prometheus_rules.yaml")


def configuration(rules_file: str, port: int, metrics: int, node: int, nginx: int, *, stores: bool) -> str:
    """The configuration of a host's own Prometheus. It scrapes itself, pushrod's metrics, the machine's and those of
    the edge, each on its port of 127.0.0.1 (0: there are none of the edge), the apps' own and, with `stores`, those
    of their stores."""
    values = {"port": str(port), "metrics": str(metrics), "node_port": str(node)}
    further = fill(beside(__file__, "prometheus_stores.yml")) if stores else ""
    further += fill(beside(__file__, "prometheus_nginx.yml"), port=str(nginx)) if nginx else ""
    return fill(beside(__file__, "prometheus.yml"), rules=rules_file, further=further, **values)


def targets(listed: Iterable[Target]) -> str:
    """A file for `file_sd_configs` (prometheus.io/docs, file_sd_config)."""
    groups = [
        {"targets": [one.address], "labels": {"__metrics_path__": one.path, **one.labels}} for one in listed
    ]
    return json.dumps(groups, indent=1) + "\n"

"""Dashboards for Grafana, and the files from which it loads them.

`dashboards` says what they show, `documents` renders them.
"""

from pushrod.adapters.grafana.dashboards import DASHBOARDS
from pushrod.adapters.grafana.documents import dashboard, files

__all__ = ["DASHBOARDS", "dashboard", "files"]

"""The files and paths of a host that programs without the package use."""

import json
from pathlib import Path
from typing import Any

from pushrod.engines.docker import bring_up


def live(root: Path, **changes: Any) -> bring_up.App:
    """An app whose seventh release is live."""
    app = bring_up.App(str(root), "shop")
    directory = app.state / "releases" / "7"
    directory.mkdir(parents=True)
    instance = {"name": "backend-1", "service": "backend", "address": "10.213.0.2", "port": 8080}
    release = {"number": 7, "entry": "backend", "stores": [], "instances": [instance]} | changes
    (directory / "release.json").write_text(json.dumps(release))
    app.live.symlink_to("releases/7")
    return app


def served(root: Path, **site: Any) -> None:
    """The edge's table: it sends the app's requests to the backend of its seventh release."""
    path = root / "edge" / "current" / "sites.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"shop": {"release": 7, "backends": ["10.213.0.2:8080"], **site}}))

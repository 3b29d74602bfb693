"""Configs and secrets whose text is not a file of the commit: `content`, and `environment` from the app's secrets.

Their text may be secret, so it never goes into the sealed files: it is kept below `secrets/`, under a keyed digest of
itself, and mounted from there. The same text is the same file, so it changes no store.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pushrod import host
from pushrod.apps import App
from pushrod.engines.docker import names
from pushrod.errors import ManifestError
from pushrod.secrets import Secrets

Document = Mapping[str, Any]


def placed(app: App, document: Document) -> dict[str, Any]:
    """The document with each such config and secret as a file of this host, which is written."""
    found = copy.deepcopy(dict(document))
    for kind in ("configs", "secrets"):
        for name, declared in (found.get(kind) or {}).items():
            if "content" in declared or "environment" in declared:
                found[kind][name] = {"file": _written(app, _text(app, f"{kind}.{name}", declared))}
    return found


def prune(app: App, needed: str) -> None:
    """Remove every such file that the text `needed`, of all compose files that are kept, does not name."""
    for path in names.private_files(app).glob("*"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def _text(app: App, where: str, declared: Mapping[str, Any]) -> str:
    if "content" in declared:
        return str(declared["content"])
    variables, name = Secrets(app).variables(), str(declared["environment"])
    if name not in variables:
        raise ManifestError(f"nothing gives {name}", where=where, hint=f"set it: pushrod secret set {name}")
    return variables[name]


def _written(app: App, text: str) -> str:
    """A file that any account of a container can read, mounted as it is; the directory keeps others out."""
    path = names.private_files(app) / Secrets(app).digest(text)[:32]
    if not path.exists():
        host.make_private(app.secrets)
        host.make_private(path.parent)
        host.write(path, text, mode=0o444)
    return str(path)

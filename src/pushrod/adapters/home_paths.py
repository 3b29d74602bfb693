"""`${HOME}` and `~` in a compose file. Pure.

The loader gets a mark as its home directory, so that paths beginning with it can be recognised and refused: a file
cannot know whose home that would be on a server. Everywhere else `${HOME}` is the home of the account that pushrod
runs as.
"""

import re
from typing import Any

from pushrod.core.patterns import lazy

MARK = "/~"

_MARKED = lazy(rf"(?<![\w.~/-]){re.escape(MARK)}(?![\w.~-])")
# Keys of a service and of its build that hold no paths of the host.
_TEXTS = (
    "args",
    "command",
    "entrypoint",
    "environment",
    "healthcheck",
    "labels",
    "post_start",
    "pre_stop",
    "x-pushrod",
)


def shown(document: dict[str, Any], home: str) -> dict[str, Any]:
    """The document with `home` in place of the mark, except in paths."""
    services = document.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        for place in (service, service.get("build")) if isinstance(service, dict) else ():
            if isinstance(place, dict):
                place.update({key: _shown(place[key], home) for key in _TEXTS if key in place})
    return document


def _shown(value: Any, home: str) -> Any:
    if isinstance(value, dict):
        return {key: _shown(item, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item, home) for item in value]
    return _MARKED.sub(lambda _: home, value) if isinstance(value, str) else value

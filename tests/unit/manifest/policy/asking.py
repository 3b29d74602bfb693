"""Documents for the tests of the policy."""

from collections.abc import Callable
from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.manifest import policy
from pushrod.manifest.policy import Permitted, Terms
from tests.unit import samples

PRIVATE = "/var/lib/pushrod"
LIMITS = samples.LIMITS


def apply(
    document: dict[str, Any], *allowed: str, tracked: Callable[[str], bool] = lambda _: True
) -> Permitted:
    return policy.apply({"name": "shop", **document}, Terms("docker", LIMITS, allowed, tracked, PRIVATE))


def refused(document: dict[str, Any], *allowed: str, **options: Any) -> ManifestError:
    with pytest.raises(ManifestError) as error:
        apply(document, *allowed, **options)
    return error.value


def web(**keys: Any) -> dict[str, Any]:
    return {"services": {"web": keys}}


def bind(source: str, **keys: Any) -> dict[str, Any]:
    return web(volumes=[{"type": "bind", "source": source, "target": "/x", **keys}])


def volume(**keys: Any) -> dict[str, Any]:
    return {"volumes": {"data": {"name": "shop_data", **keys}}}


SERVICE = "services.web."


def left(*allowed: str, **given: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The remaining keys of a service, and the notes about it."""
    result, notes = apply(web(**given), *allowed)
    return result["services"]["web"], notes

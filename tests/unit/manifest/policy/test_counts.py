"""How many of each thing an app may have."""

from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Manifest
from pushrod.manifest import policy
from tests.unit import samples
from tests.unit.manifest.policy.asking import LIMITS, SERVICE, apply, refused, web


@pytest.mark.parametrize(
    ("document", "where", "hint"),
    [
        ({"services": {f"s{n}": {} for n in range(51)}}, "services", "services=51"),
        ({"volumes": {f"v{n}": {} for n in range(51)}}, "volumes", "volumes=51"),
        ({"networks": {f"n{n}": {} for n in range(51)}}, "networks", "volumes=51"),
        ({"secrets": {f"n{n}": {} for n in range(101)}}, "secrets", "files=101"),
        (web(deploy={"replicas": 51}), SERVICE + "deploy.replicas", "containers=51"),
        (web(scale=51), SERVICE + "scale", "containers=51"),
    ],
)
def test_too_many_objects_are_refused(document: dict[str, Any], where: str, hint: str) -> None:
    error = refused(document)
    assert (error.where, error.hint.partition("host limits ")[2]) == (where, hint)


def test_containers_and_kept_releases_are_limited() -> None:
    stores = (samples.store(),)
    few = Manifest(services=(samples.service(replicas=49), *stores), keep=5)
    assert policy.within(few, LIMITS) is few
    with pytest.raises(ManifestError, match="51 containers"):
        policy.within(Manifest(services=(samples.service(replicas=50), *stores)), LIMITS)
    kept = policy.within(Manifest(services=stores, keep=10**6), LIMITS)
    assert (kept.keep, len(kept.notes)) == (20, 1)


@pytest.mark.parametrize(
    ("replicas", "interval"),
    [({}, "1s"), ({"scale": 30}, "3000ms"), ({"deploy": {"replicas": 45}}, "4500ms")],
)
def test_health_checks_of_many_containers_are_further_apart(replicas: dict[str, Any], interval: str) -> None:
    """Each check is a process that the engine starts, and that no limit of the app counts."""
    result, notes = apply(web(healthcheck={"test": ["CMD", "true"], "interval": "1s"}, **replicas))
    assert result["services"]["web"]["healthcheck"]["interval"] == interval
    assert len(notes) == bool(replicas)
    assert policy.paced_for(LIMITS, 9) == LIMITS

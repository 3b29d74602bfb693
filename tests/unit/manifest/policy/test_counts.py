"""How many of each thing an app may have."""

from typing import Any

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Manifest
from pushrod.manifest import policy
from tests.unit import samples
from tests.unit.manifest.policy.asking import LIMITS, SERVICE, refused, web


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
def test_too_many_of_a_thing(document: dict[str, Any], where: str, hint: str) -> None:
    error = refused(document)
    assert (error.where, error.hint.partition("host limits ")[2]) == (where, hint)


def test_instances_and_stores_together_have_a_limit_and_so_have_the_releases() -> None:
    stores = (samples.store(),)
    few = Manifest(services=(samples.service(replicas=49), *stores), keep=5)
    assert policy.within(few, LIMITS) is few
    with pytest.raises(ManifestError, match="51 containers"):
        policy.within(Manifest(services=(samples.service(replicas=50), *stores)), LIMITS)
    kept = policy.within(Manifest(services=stores, keep=10**6), LIMITS)
    assert (kept.keep, len(kept.notes)) == (20, 1)

"""Resources of all apps are shared: one that takes all it can leaves the others their part."""

import json
from collections.abc import Iterator

import pytest

from devtools.lab.ground import DOCKERFILE
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town

pytestmark = pytest.mark.lab

SETTINGS = "/var/lib/pushrod/host.json"


@pytest.fixture
def small_pool(town: Town) -> Iterator[None]:
    """A pool with room for eight releases, including the victim's live one."""
    before = town.box.get(SETTINGS).decode()
    town.box.put(SETTINGS, json.dumps({**json.loads(before), "pool": "10.213.0.0/23"}))
    yield
    town.box.put(SETTINGS, before)


@pytest.mark.long
def test_releases_kept_by_one_app_leave_addresses_to_others(
    town: Town, attacker: Attacker, small_pool: None
) -> None:
    done = attacker.pushes({"compose.yaml": MANIFEST.replace("keep: 3", "keep: 100")})
    assert done.ok, done.err
    for _ in range(7):
        output = attacker.asks("restart", "--app", "attacker")
        assert output.status == 0, output.stderr
    assert "the app's share allows no more" in output.stderr
    domain = MANIFEST.replace("attacker.localhost", "fresh.localhost")
    fresh = town.ground.app("fresh", {"app.py": PROGRAM, "Dockerfile": DOCKERFILE, "compose.yaml": domain})
    try:
        done = fresh.push()
        assert done.ok, done.err
    finally:
        town.ground.pushrod("apps", "destroy", "fresh", "--yes")


def test_replicas_of_one_release_leave_addresses_to_others(attacker: Attacker, small_pool: None) -> None:
    """As many containers as a host allows, on a host with few addresses: the next release would take the rest."""
    refused = attacker.refused({"compose.yaml": MANIFEST + "    deploy: {replicas: 50}\n"})
    assert "50 instances and stores need 256 addresses, and a release may have 128" in refused.what
    assert "fewer replicas" in refused.to_do

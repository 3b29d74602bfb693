"""What the engine refuses before anything is started."""

import pytest

from pushrod.engines.docker.engine import _check_ports
from pushrod.errors import ManifestError
from pushrod.values import Auth, Instance, Manifest, Route, Routing
from tests.unit import samples

WANTED = Manifest(
    services=(
        samples.service(),
        *(samples.service(n, role="worker", port=0) for n in ("api", "judge", "job")),
    ),
    routing=Routing(routes=(Route("/api/", service="api", auth=Auth(service="judge", path="/")),)),
)


@pytest.mark.parametrize("without", ["backend", "api", "judge"])
def test_what_the_edge_reaches_has_a_port(without: str) -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == without else 8080) for s in WANTED.services]
    with pytest.raises(ManifestError, match=f"on which port {without} listens") as refused:
        _check_ports(WANTED, instances)
    assert refused.value.where == f"services.{without}"


def test_a_worker_needs_none() -> None:
    instances = [Instance(f"{s.name}-1", s.name, 0 if s.name == "job" else 8080) for s in WANTED.services]
    _check_ports(WANTED, instances)

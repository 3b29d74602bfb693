"""What a real API server of Kubernetes 1.20 says of exported objects. It runs nothing: it has no nodes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.lab import kubernetes
from devtools.lab.kubernetes import ApiServer
from pushrod.engines.kubernetes import bases
from pushrod.engines.kubernetes.objects import Cluster, Object
from tests.unit.engines.kubernetes.test_bases import APPS, every, the_app

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    if problem := kubernetes.problem():
        pytest.skip(problem)
    with kubernetes.api_server(tmp_path_factory.mktemp("kubernetes")) as running:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
        assert running.create(namespace, dry=False)[0] == 201
        yield running


def dropped(sent: Any, kept: Any, path: str = "") -> Iterator[str]:
    """The paths of what was sent and is not in the answer: fields that this version does not know are left out."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if key == "stringData":
                continue
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key}"
            else:
                yield from dropped(value, kept[key], f"{path}.{key}")
    elif isinstance(sent, list):
        for n, value in enumerate(sent):
            yield from dropped(value, kept[n] if n < len(kept) else None, f"{path}[{n}]")


@pytest.mark.parametrize("name", APPS)
def test_the_server_takes_every_object_whole(name: str, server: ApiServer, tmp_path: Path) -> None:
    whole = bases.render(the_app(name, tmp_path), Cluster("shop", (1, 20)))
    problems: list[str] = []
    for item in every(whole):
        if item["kind"] == "Namespace":
            continue
        status, answer = server.create(item, dry=True)
        what = f"{item['kind']} {item['metadata']['name']}"
        if status != 201:
            problems.append(f"{what}: {answer.get('message', answer)}")
        problems += [f"{what}: dropped {path}" for path in dropped(item, answer)] if status == 201 else []
    assert problems == []


def test_the_server_refuses_what_is_wrong_and_leaves_out_what_it_does_not_know(server: ApiServer) -> None:
    item: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}], "somethingNew": "x"},
    }
    status, answer = server.create(item, dry=True)
    assert status == 201
    assert [*dropped(item, answer)] == [".spec.somethingNew"]
    item["spec"]["ports"] = [{"port": 0}]
    assert server.create(item, dry=True)[0] == 422

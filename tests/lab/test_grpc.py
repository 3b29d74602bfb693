"""gRPC on a Docker host: a real app with its own image, called by name with and without TLS."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from devtools.apps import edge_port
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import ROOT, Ground, Shop
from tests.conftest import needs_lab
from tests.integration import calls
from tests.integration.calls import Caller

pytestmark = [pytest.mark.lab, pytest.mark.long]

NAME = "calls.localhost"
DOCKERFILE = """\
FROM python:3.13-slim
WORKDIR /app
COPY wheels wheels
RUN pip install --no-index --find-links wheels grpcio
COPY server.py .
ENV HOST=0.0.0.0
USER nobody
CMD ["python", "server.py"]
"""


def pip(*argv: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *argv], check=True, timeout=300)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python on this machine that has the library."""
    place = tmp_path_factory.mktemp("caller") / "venv"
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=300)
    subprocess.run([place / "bin" / "pip", "--quiet", "install", "grpcio==1.85.3"], check=True, timeout=300)
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def secure_port() -> int:
    return edge_port()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, secure_port: int) -> Iterator[Shop]:
    needs_lab(images.box_problem())
    box = Box()
    ground = Ground(box, tmp_path_factory.mktemp("desk"))
    wheels = tmp_path_factory.mktemp("wheels")
    pip("download", "--python-version", "3.13", "--only-binary", ":all:", "-d", str(wheels), "grpcio==1.85.3")
    try:
        ground.create([f"127.0.0.1:{secure_port}:443"])
        app = ground.app("calls", tree(wheels))
        done = app.push()
        assert done.ok, done.err
        yield app
    finally:
        box.remove()


def tree(wheels: Path) -> dict[str, str | bytes]:
    kept: dict[str, str | bytes] = {f"wheels/{p.name}": p.read_bytes() for p in wheels.iterdir()}
    own = {"server.py": calls.SERVER, "client.py": calls.CLIENT, "Dockerfile": DOCKERFILE}
    return {**kept, **own, "compose.yaml": manifest()}


def manifest(**top: object) -> str:
    whole = yaml.safe_load(calls.files(**{"x-pushrod": {"domains": [NAME], **top}})["compose.yaml"])
    del whole["services"]["web"]["command"]
    return yaml.safe_dump(whole, sort_keys=False)


@pytest.fixture(scope="module")
def caller(shop: Shop, own: Path) -> Caller:
    return Caller(str(own), shop.tree.path / "client.py", f"127.0.0.1:{shop.ground.port}", NAME)


def test_calls_of_all_four_kinds_work(caller: Caller) -> None:
    assert caller.call("say", "hello")["answer"] == "one:hello"
    assert caller.call("count", "5x0") == [f"one:{n}" for n in range(5)]
    assert caller.call("total", "100", "1000") == "100000"
    assert caller.call("chat", "3", "0.2")[0] == ["one:0", "one:1", "one:2"]


def test_a_switch_fails_no_call(shop: Shop, caller: Caller) -> None:
    with caller.calling("load") as load, caller.calling("chat", "16", "0.5") as chat:
        assert load.heard() == "began"
        shop.tree.commit({"server.py": calls.SERVER.replace('"one"', '"two"')}, "two")
        done = shop.push()
        assert done.ok, done.err
        result = load.ended()
        heard, _ = chat.heard()
    assert result["failed"] == []
    assert result["versions"] == ["one:x", "two:x"]
    assert [h.partition(":")[2] for h in heard] == [str(n) for n in range(16)]
    assert "answers nothing" not in done.err


def test_calls_work_over_tls(shop: Shop, own: Path, secure_port: int, tmp_path: Path) -> None:
    shop.tree.commit({"compose.yaml": manifest(tls={"source": "local"})}, "with TLS")
    done = shop.push()
    assert done.ok, done.err
    trust = tmp_path / "chain.pem"
    trust.write_bytes(shop.box.get(f"{ROOT}/authority/chain.pem"))
    client = shop.tree.path / "client.py"
    secure = Caller(str(own), client, f"127.0.0.1:{secure_port}", NAME, str(trust))
    assert secure.call("say", "hello")["answer"] == "two:hello"
    assert secure.call("count", "3x0") == [f"two:{n}" for n in range(3)]
    assert secure.call("chat", "3", "0") == [["two:0", "two:1", "two:2"], []]

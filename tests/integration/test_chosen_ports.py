"""Programs that choose their own port: the embedded engine cannot run them, and reports where they listen."""

import time
from typing import Any

import pytest

from devtools.apps import Machine, complaint, manifest
from devtools.servers import free_port

pytestmark = pytest.mark.integration

SERVE = """\
import http.server, subprocess, sys
port = int(sys.argv[1]) if sys.argv[1:] else {port}
{more}
http.server.ThreadingHTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
CHILD = "if not sys.argv[1:]: sys.exit(subprocess.call([sys.executable, sys.argv[0], str(port)]))"


def files(code: str, **changes: Any) -> dict[str, str]:
    return {"app.py": code, "compose.yaml": manifest(**changes)}


@pytest.mark.parametrize("more", ["", CHILD], ids=["itself", "a-child"])
def test_the_port_is_said_long_before_the_deadline(machine: Machine, more: str) -> None:
    """Both in the process itself and in a child of it, as with a server that reloads its code."""
    port = free_port()
    code, health = SERVE.format(port=port, more=more), {"health": {"path": "/", "deadline": "60s"}}
    app = machine.app(
        f"chosen-{bool(more):d}", files(code, ports=[f"80:{port}"], **{"x-pushrod": health}), push=False
    )
    began = time.monotonic()
    said = complaint(app.tree.push())
    assert time.monotonic() - began < 30
    assert f"web-1 listens on port {port}, not on 2" in said.what
    assert "which it is given in $PORT" in said.what
    assert "read PORT in the code" in said.to_do


def test_another_port_is_said_at_the_deadline(machine: Machine) -> None:
    port = free_port()
    code, health = SERVE.format(port=port, more=""), {"health": {"path": "/", "deadline": "3s"}}
    app = machine.app("other", files(code, **{"x-pushrod": health}), push=False)
    said = complaint(app.tree.push())
    assert "was not healthy within 3 s: nothing listens on its port" in said.what
    assert said.what.endswith(f"; it listens on {port}")


def test_a_port_beside_its_own_is_no_matter(machine: Machine) -> None:
    port = free_port()
    code = SERVE.format(
        port="int(__import__('os').environ['PORT'])",
        more=f"import socket, threading, time\ns = socket.create_server(('127.0.0.1', {port})); time.sleep(2)",
    )
    health = {"health": {"path": "/", "deadline": "30s"}}
    app = machine.app("beside", files(code, ports=[f"80:{port}"], **{"x-pushrod": health}))
    assert app.get("/app.py").status == 200

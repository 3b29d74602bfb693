"""Programs that choose their own port: the file's own works on the embedded engine, another one is reported."""

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
def test_a_program_may_ignore_the_port_it_is_given(machine: Machine, more: str) -> None:
    """The process itself or a child of it, as with a server that reloads its code, listens on the file's port."""
    port = free_port()
    code, health = SERVE.format(port=port, more=more), {"health": {"path": "/", "deadline": "60s"}}
    app = machine.app(f"chosen-{bool(more):d}", files(code, ports=[f"80:{port}"], **{"x-pushrod": health}))
    assert app.get("/app.py").status == 200


def test_another_port_is_reported_at_the_deadline(machine: Machine) -> None:
    port = free_port()
    code, health = SERVE.format(port=port, more=""), {"health": {"path": "/", "deadline": "3s"}}
    app = machine.app("other", files(code, **{"x-pushrod": health}), push=False)
    error = complaint(app.tree.push())
    assert "was not healthy within 3 s: nothing listens on its port" in error.what
    assert error.what.endswith(f"; it listens on {port}")


def test_an_additional_port_is_accepted(machine: Machine) -> None:
    port, other = free_port(), free_port()
    code = SERVE.format(
        port=port,
        more=f"import socket, threading, time\ns = socket.create_server(('127.0.0.1', {other})); time.sleep(2)",
    )
    health = {"health": {"path": "/", "deadline": "30s"}}
    app = machine.app("beside", files(code, ports=[f"80:{port}"], **{"x-pushrod": health}))
    assert app.get("/app.py").status == 200

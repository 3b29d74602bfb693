"""`nc -z`, with real ports."""

import socket

import pytest

from devtools.servers import free_port
from pushrod.engines.embedded.netcat import main


def test_a_port_that_accepts(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = str(s.getsockname()[1])
        assert main(["-z", "127.0.0.1", port]) == 0
        assert main(["-vzw1", "127.0.0.1", port]) == 2
        assert main(["-zv", "-w", "2", "localhost", port]) == 0
        assert main(["-z", "127.0.0.1", port, str(free_port())]) == 1


@pytest.mark.parametrize("argv", [["-l", "8000"], ["host", "80"], ["-z", "host"], ["-z", "host", "http"], []])
def test_nothing_else(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "answers only" in capsys.readouterr().err

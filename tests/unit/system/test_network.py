"""The network, tested with the real system."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushrod.system import network


def test_the_user_of_a_listener_is_found() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert network.listener(port) is None
        server.listen()
        assert network.listener(port) == os.geteuid()
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert network.listener(client.getsockname()[1]) is None


def test_only_listeners_on_this_machines_addresses_are_found(tmp_path: Path) -> None:
    row = "   0: {}:6978 00000000:0000 {} 00000000:00000000 00:00000000 00000000  {}        0 1 1"
    table = tmp_path / "tcp"
    for address, state, known in (
        ("0100007F", "0A", 1000),
        ("00000000", "0A", 1000),
        ("0100007F", "01", None),
        ("0200007F", "0A", None),
    ):
        table.write_text(f"  sl  local_address\n{row.format(address, state, 1000)}\n")
        assert network.listener(27000, table) == known
    assert network.listener(27000, tmp_path / "none") is None


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        with socket.create_server((request.param, 0), family=family, dualstack_ipv6=family != 2) as s:
            yield s
    except (OSError, ValueError):
        pytest.skip("no IPv6 here")


def test_a_port_with_a_listener_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not network.port_is_free(port)
    assert network.accepts(port)


@pytest.mark.parametrize(
    ("row", "listens"),
    [
        ("0: 00000000:1F90 00000000:0000 0A 00000000:00000000", True),
        ("0: 0100007F:1F90 00000000:0000 0A 00000000:00000000", False),
        ("0: 0B00007F:9C41 00000000:0000 0A 00000000:00000000", False),
        ("0: 0200D50A:1F90 0100D50A:C350 01 00000000:00000000", False),
        ("0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A", True),
        ("0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A", False),
        ("0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A", False),
    ],
)
def test_only_reachable_listeners_count(row: str, listens: bool) -> None:
    if sys.byteorder == "little":
        assert network.reachable_listeners(f"  sl  local_address rem_address st\n   {row}\n") is listens


def test_an_ended_process_has_no_listener() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert not network.listens(pid)


def test_a_port_in_time_wait_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
    client.close()
    assert network.port_is_free(port)
    assert not network.accepts(port)


def test_exchange_returns_the_whole_answer_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"you said " + connection.recv(100) + b"!" * 10_000)

        thread = threading.Thread(target=answer)
        thread.start()
        assert network.exchange(path, b"hello") == b"you said hello" + b"!" * 10_000
        thread.join()
    assert network.exchange(path, b"hello") == b""
    assert network.exchange(tmp_path / "none", b"hello") == b""


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((a, True) for a in ("9.9.9.9", "140.82.121.3", "2606:50c0:8000::153", "64:ff9b::8c52:7903")),
        *((a, False) for a in ("127.0.0.1", "0.0.0.0", "10.213.0.2", "172.17.0.1", "192.168.1.1")),
        *((a, False) for a in ("192.0.0.8", "64:ff9b::c000:8", "192.88.99.1")),
        *((a, False) for a in ("100.64.0.1", "169.254.169.254", "224.0.0.1", "240.0.0.1", "255.255.255.255")),
        *((a, False) for a in ("::1", "::", "fe80::1%1", "fd00::1", "ff02::1", "::ffff:127.0.0.1")),
        *((a, False) for a in ("64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:53aa:64c:0:5a:80ff:fffe")),
    ],
)
def test_public_addresses_are_recognized(address: str, public: bool) -> None:
    assert network.is_public(address) is public


def test_own_addresses_are_recognized() -> None:
    assert network.is_own("127.0.0.1")
    assert not network.is_own("192.0.2.1")


def test_the_addresses_of_all_interfaces_are_known() -> None:
    assert "127.0.0.1" in network.own_addresses()
    assert all(network.is_own(address) for address in network.own_addresses())


def test_names_are_resolved_to_addresses() -> None:
    assert "127.0.0.1" in network.addresses("localhost", 443)
    assert network.addresses("2130706433", 443) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r"not known|No address|failure in name"):
        network.addresses("none.invalid", 443)

"""Programs that listen on every address get one of their own: real sockets, as root and as an ordinary user."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from devtools.servers import free_port
from pushrod.engines.embedded import listener
from pushrod.system import network, waits
from tests.unit.engines.embedded import kernel

Account = Callable[[Sequence[str]], list[str]]
USERS: list[Account] = [kernel.as_user, *([list] if os.geteuid() == 0 else [])]
ADDRESS = "127.93.17.5"
BINDING = """\
import os, socket, sys
family, kind, host, port = sys.argv[1:5]
s = socket.socket(getattr(socket, family), getattr(socket, kind))
if sys.argv[5:] == ["only"]:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
elif family == "AF_INET6":
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
try:
    s.bind((host, int(port)) if family != "AF_UNIX" else host)
    print(s.getsockname()[:2] if family != "AF_UNIX" else s.getsockname())
except OSError as e:
    print(e.errno)
"""
SERVING = """\
import os, socket, sys
s = socket.create_server(("0.0.0.0", int(sys.argv[1])))
if os.fork() == 0:  # a worker that opens a second one, as servers with several ports do
    t = socket.create_server(("", int(sys.argv[1]) + 1))
    t.accept()
while True:
    s.accept()[0].send(sys.argv[2].encode())
"""


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    """A copy that every user reaches."""
    made = Path(tempfile.mkdtemp(prefix="pushrod-listen-", dir="/tmp"))
    made.chmod(0o755)
    copy = Path(shutil.copy(listener.__file__, made / "listener.py"))
    copy.chmod(0o644)
    yield str(copy)
    shutil.rmtree(made)


def listening(
    program: str, main: int, given: int, code: str, *words: str, address: str = ADDRESS
) -> list[str]:
    own = [kernel.PYTHON, "-I", "-S", program, address, str(main), str(given)]
    return [*own, kernel.PYTHON, "-I", "-c", code, *words]


@pytest.mark.slow
@pytest.mark.parametrize("account", USERS)
def test_where_a_socket_comes_to_be(program: str, account: Account) -> None:
    main, given, other = free_port(), free_port(), free_port()

    def bound(*words: str) -> str:
        done = kernel.run(account(listening(program, main, given, BINDING, *words)))
        assert done.stderr == ""
        return done.stdout.strip()

    assert bound("AF_INET", "SOCK_STREAM", "0.0.0.0", str(main)) == str((ADDRESS, given))
    assert bound("AF_INET", "SOCK_STREAM", "127.0.0.1", str(main)) == str((ADDRESS, given))
    assert bound("AF_INET", "SOCK_STREAM", "0.0.0.0", str(other)) == str((ADDRESS, other))
    assert bound("AF_INET", "SOCK_STREAM", "127.0.0.1", str(other)) == str(("127.0.0.1", other))
    assert bound("AF_INET", "SOCK_DGRAM", "0.0.0.0", str(other)) == str(("0.0.0.0", other))
    assert bound("AF_INET", "SOCK_STREAM", "0.0.0.0", "0").startswith("('0.0.0.0', ")
    if network.has_ipv6():
        assert bound("AF_INET6", "SOCK_STREAM", "::", str(main)) == str((f"::ffff:{ADDRESS}", given))
    with socket.create_server((ADDRESS, other)):
        assert bound("AF_INET", "SOCK_STREAM", "0.0.0.0", str(other)) == "98"


CALLING = """\
import ctypes, os, socket, sys
main, other, foreign = map(int, sys.argv[1:])
listening = [socket.create_server(("", port)) for port in (main, other)]
def asked(host, port, family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_STREAM)
    try:
        s.connect((host, port))
    except OSError as e:
        return e.errno
    return s.getpeername()[:2]
print([asked("127.0.0.1", main), asked("127.0.0.1", other), asked("0.0.0.0", main), asked("127.0.0.1", foreign)])
s = socket.socket()
raw = (2).to_bytes(2, sys.byteorder) + main.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
size = ctypes.c_ulong(1 << 46 | len(raw))  # the kernel takes an int
call = ctypes.c_long({"x86_64": 42, "aarch64": 203}[os.uname().machine])
print(ctypes.CDLL(None).syscall(call, s.fileno(), raw, size), s.getpeername())
if socket.has_dualstack_ipv6():
    print(asked("::1", main, socket.AF_INET6), asked("::ffff:127.0.0.1", main, socket.AF_INET6))
"""


@pytest.mark.slow
@pytest.mark.parametrize("account", USERS)
def test_a_program_reaches_itself_at_the_loopback_address(program: str, account: Account) -> None:
    main, given, other = free_port(), free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as foreign, socket.create_server(("127.0.0.1", main)):
        words = [str(n) for n in (main, other, foreign.getsockname()[1])]
        done = kernel.run(account(listening(program, main, given, CALLING, *words)))
        own, mapped = (ADDRESS, given), (f"::ffff:{ADDRESS}", given)
        first, by_hand, *second = done.stdout.splitlines()
        assert first == str([own, (ADDRESS, other), own, foreign.getsockname()[:2]]), done.stderr
        assert by_hand == f"0 {own}", done.stderr
        assert second == ([f"{mapped} {mapped}"] if network.has_ipv6() else [])


@pytest.mark.slow
@pytest.mark.parametrize("account", USERS)
def test_two_releases_listen_on_the_same_port_of_every_address(program: str, account: Account) -> None:
    port = free_port()
    addresses = {"127.93.18.1": "old", "127.93.18.2": "new"}
    running = [
        subprocess.Popen(
            account(listening(program, port, port, SERVING, str(port), text, address=address)),
            process_group=0,
        )
        for address, text in addresses.items()
    ]
    try:
        for address, text in addresses.items():
            assert waits.wait_until(lambda at=address: network.accepts(port, at), 20)  # type: ignore[misc]
            assert waits.wait_until(lambda at=address: network.accepts(port + 1, at), 20)  # type: ignore[misc]
            with socket.create_connection((address, port), 5) as s:
                assert s.recv(10).decode() == text
        assert not network.accepts(port, "127.93.18.3")
    finally:
        for one in running:
            os.killpg(one.pid, signal.SIGTERM)
    assert [one.wait(20) for one in running] == [-signal.SIGTERM, -signal.SIGTERM]


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9)]
)
def test_it_ends_as_its_program_ends(program: str, code: str, status: int) -> None:
    assert kernel.run(listening(program, 8000, 8000, code)).returncode == status


@pytest.mark.slow
def test_a_kernel_without_filters(program: str) -> None:
    port = free_port()
    argv = listening(program, port, port, BINDING, "AF_INET", "SOCK_STREAM", "0.0.0.0", str(port))
    done = kernel.run(kernel.as_user(kernel.refusing("filters", argv)))
    assert done.stdout.strip() == str(("0.0.0.0", port))
    assert done.stderr.startswith("listener: it listens on the machine's own addresses: seccomp: ")

"""Sockets of this machine: who listens, what is free, what answers."""

import contextlib
import hashlib
import ipaddress
import os
import socket
import sys
from pathlib import Path

_UNICAST = ipaddress.IPv6Network("2000::/3")  # what of IPv6 is given out (RFC 4291)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LISTENING = "0A"  # the kernel's TCP_LISTEN, as /proc prints it


def listens(pid: int) -> bool:
    """Whether something listens on TCP in a process's own network, loopback left out (proc_pid_net(5)).

    True too where that cannot be told: whoever asks wants to know who answers nobody.
    """
    try:
        return any(
            reachable_listeners(path.read_text())
            for path in (Path(f"/proc/{pid}/net/{table}") for table in ("tcp", "tcp6"))
            if path.exists()  # not where it has ended, or where there is no IPv6
        )
    except OSError:
        return True


def reachable_listeners(table: str) -> bool:
    """Whether a table of TCP sockets, as the kernel prints it, has one that listens elsewhere than on loopback."""
    rows = [row.split() for row in table.splitlines()[1:]]
    return any(r[3] == _LISTENING and not _address(r[1].partition(":")[0]).is_loopback for r in rows)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel prints it: words of four bytes in hex, each in the machine's own order."""
    words = (bytes.fromhex(text[i : i + 8]) for i in range(0, len(text), 8))
    found = ipaddress.ip_address(b"".join(w[::-1] if sys.byteorder == "little" else w for w in words))
    return getattr(found, "ipv4_mapped", None) or found


def addresses(host: str, port: int) -> list[str]:
    """The addresses that a host's name stands for here; OSError where it stands for none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(at[0]) for *_, at in found))


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet's, for everybody the same (RFC 6890).

    Of those that stand for another, only those of NAT64 (RFC 6052) are looked into: a host without IPv4 needs them.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(found.packed[-4:])))
        if found not in _UNICAST or found.sixtofour or found.teredo:
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def is_own(address: str) -> bool:
    """Whether an address is one of this machine's: a socket can be bound to it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        try:
            s.bind((address, 0))
        except OSError:
            return False
        return True


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a TCP port can be bound on `address` right now."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
        return True


def listener(port: int, table: Path = Path("/proc/net/tcp")) -> int | None:
    """The user whose process listens on a TCP port of 127.0.0.1; None where none does, or this system does not say.

    The table is that of proc_pid_net(5): addresses in hexadecimal, 0A for a socket that listens, then the user.
    """
    addresses = {f"{address}:{port:04X}" for address in ("0100007F", "00000000")}
    with contextlib.suppress(FileNotFoundError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] in addresses and fields[3] == "0A":
                return int(fields[7])
    return None


def has_ipv6() -> bool:
    """Whether this machine's kernel has IPv6, so that its sockets can be made."""
    try:
        socket.socket(socket.AF_INET6).close()
    except OSError:
        return False
    return True


def accepts(port: int, address: str = "127.0.0.1", timeout: float = 1.0) -> bool:
    """Whether something accepts TCP connections on `address`:`port`."""
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return True
    except OSError:
        return False


def exchange(path: Path, request: bytes, timeout: float = 1.0) -> bytes:
    """Send `request` to a unix socket and return what it answers until it closes; b"" when nothing answers.

    `timeout` is in seconds, for each step of the conversation.
    """
    answer = b""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(os.fspath(path))
        s.sendall(request)
        while part := s.recv(4096):
            answer += part
    return answer


def log(identifier: str, text: str) -> None:
    """Tell the system's journal a line (syslog(3): authorisation, informational); nothing where there is none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(1.0)
        s.connect("/dev/log")
        s.send(f"<38>{identifier}[{os.getpid()}]: {text}".encode())


def certificate_at(address: str, port: int, name: str, timeout: float = 5.0) -> str:
    """The SHA-256 of the certificate that `address`:`port` shows who asks for `name`; empty where none is shown.

    Whether it is to be trusted is not asked.
    """
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout=timeout) as s,
            context.wrap_socket(s, server_hostname=name) as encrypted,
        ):
            return hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError:  # ssl.SSLError is one
        return ""

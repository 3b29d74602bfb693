"""Sockets of this machine: listeners, free ports, answering servers."""

import contextlib
import errno
import hashlib
import ipaddress
import os
import socket
import sys
from pathlib import Path

_UNICAST = ipaddress.IPv6Network("2000::/3")  # the allocated part of IPv6 (RFC 4291)
# RFC 6890 and 7526; older versions of Python take them for global ones.
_RESERVED = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LISTENING = "0A"  # the kernel's TCP_LISTEN, as /proc prints it


def listens(pid: int) -> bool:
    """Whether a process listens on TCP in its network namespace, other than on loopback (proc_pid_net(5)).

    True also if the tables cannot be read: the caller looks for processes that certainly do not listen.
    """
    try:
        return any(
            reachable_listeners(path.read_text())
            for path in (Path(f"/proc/{pid}/net/{table}") for table in ("tcp", "tcp6"))
            if path.exists()  # absent if the process has ended, or without IPv6
        )
    except OSError:
        return True


def reachable_listeners(table: str) -> bool:
    """Whether a kernel table of TCP sockets has a listener on an address other than loopback."""
    rows = [row.split() for row in table.splitlines()[1:]]
    return any(r[3] == _LISTENING and not _address(r[1].partition(":")[0]).is_loopback for r in rows)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address as the kernel prints it: hexadecimal words of four bytes, each in the machine's byte
    order."""
    words = (bytes.fromhex(text[i : i + 8]) for i in range(0, len(text), 8))
    address = ipaddress.ip_address(b"".join(w[::-1] if sys.byteorder == "little" else w for w in words))
    return getattr(address, "ipv4_mapped", None) or address


def addresses(host: str, port: int) -> list[str]:
    """The addresses a host name resolves to here; OSError if it has none, or is not a name."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as e:  # `a..b`, or a label of more than 63 characters
        raise OSError(errno.EINVAL, "it is not the name of a host") from e
    return list(dict.fromkeys(str(at[0]) for *_, at in answers))


def is_public(address: str) -> bool:
    """Whether an address belongs to the public Internet (RFC 6890).

    Of the addresses that embed another, only NAT64 (RFC 6052) is unwrapped: a host without IPv4 needs it.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(ip.packed[-4:])))
        if ip not in _UNICAST or ip.sixtofour or ip.teredo:
            return False
    elif any(ip in network for network in _RESERVED):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def is_own(address: str) -> bool:
    """Whether an address is this machine's own: a socket can be bound to it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as s:
        try:
            s.bind((address, 0))
        except OSError:
            return False
        return True


def own_addresses() -> set[str]:
    """The IPv4 addresses of this machine's interfaces, those of Docker's bridges among them."""
    import psutil

    interfaces = psutil.net_if_addrs().values()
    return {a.address for addresses in interfaces for a in addresses if a.family == socket.AF_INET}


def port_is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a TCP port can currently be bound on `address`."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
        except OSError:
            return False
        return True


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port of the kernel's ephemeral range that could be bound just now."""
    with socket.socket() as s:
        s.bind((address, 0))
        return int(s.getsockname()[1])


def listener(port: int, table: Path = Path("/proc/net/tcp"), address: str = "127.0.0.1") -> int | None:
    """The user ID of the process that listens on a TCP port of an address; None if there is none or the system has
    no table.

    The table is that of proc_pid_net(5): hexadecimal addresses, state 0A for a listening socket, then the user ID.
    """
    own = socket.inet_aton(address)[::-1].hex().upper()
    addresses = {f"{host}:{port:04X}" for host in (own, "00000000")}
    with contextlib.suppress(FileNotFoundError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] in addresses and fields[3] == "0A":
                return int(fields[7])
    return None


def belongs(port: int, uid: int) -> bool:
    """Whether what listens on a TCP port of 127.0.0.1 is an account's; true where the system does not say whose it
    is. Between the choice of a free port and its use, another account may take it.
    """
    return listener(port) in (uid, None)


def has_ipv6() -> bool:
    """Whether this machine's kernel supports IPv6 sockets."""
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
    """Send `request` to a Unix socket and return the answer until it closes; b"" if nothing answers.

    `timeout` is in seconds, for each step of the exchange.
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
    """Write a line to the system log (syslog(3): authorisation, informational); does nothing if there is no log."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(1.0)
        s.connect("/dev/log")
        s.send(f"<38>{identifier}[{os.getpid()}]: {text}".encode())


def certificate_at(address: str, port: int, name: str, timeout: float = 5.0) -> str:
    """The SHA-256 of the certificate that `address`:`port` presents for `name`; empty if it presents none.

    The certificate's trust is not checked.
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

"""Calls to supervisord over its unix socket. Imported only for a call, because importing takes 40 ms."""

import http.client
import socket
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from pushrod.core.errors import HostError

# supervisor.xmlrpc.Faults
SHUTDOWN_STATE = 6
NOT_RUNNING = 70
ALREADY_STARTED = 60

_MEANING = {
    SHUTDOWN_STATE: "the supervisor is stopping",
    10: "the supervisor has no such process",
    11: "the supervisor has no such signal",
    20: "a program of the process is missing",
    21: "a program of the process cannot be executed",
    40: "the process ended at once",
    50: "the process could not be started",
    ALREADY_STARTED: "the process runs already",
    NOT_RUNNING: "the process does not run",
    90: "the supervisor has that group already",
    91: "processes of the group still run",
    92: "the supervisor cannot read its configuration",
}


class Refused(HostError):
    """supervisord answered with a fault; `code` is its number."""

    def __init__(self, code: int, text: str, where: str) -> None:
        super().__init__(f"{_MEANING.get(code, 'the supervisor refuses')} ({text})", where=where)
        self.code = code


def call(path: Path, method: str, *arguments: Any, timeout: float = 10.0) -> Any:
    """Call one method, such as `supervisor.getState`, with a time-out in seconds.

    Raises Refused for a fault, and HostError if nothing answers.
    """
    transport = _Transport(path, timeout)
    body = xmlrpc.client.dumps(arguments, method).encode()
    try:
        (result,) = transport.single_request("localhost", "/RPC2", body)  # `request` would try twice
    except xmlrpc.client.Fault as e:
        raise Refused(e.faultCode, e.faultString, method) from e
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as e:
        raise HostError(
            f"the supervisor does not answer: {e or type(e).__name__}",
            where=str(path),
            hint="its log is supervisord.log, in the supervisor directory",
        ) from e
    finally:
        transport.close()
    return result


def call_all(path: Path, calls: Sequence[tuple[str, tuple[Any, ...]]], ignore: Sequence[int] = ()) -> None:
    """Make several calls in one exchange. Raises Refused for the first fault that is not in `ignore`."""
    batch = [{"methodName": method, "params": list(arguments)} for method, arguments in calls]
    for (method, arguments), answer in zip(calls, call(path, "system.multicall", batch), strict=True):
        if isinstance(answer, dict) and "faultCode" in answer and answer["faultCode"] not in ignore:
            raise Refused(answer["faultCode"], answer["faultString"], f"{method}{arguments}")


class _Transport(xmlrpc.client.Transport):
    """xmlrpc.client's own transport, over a unix socket and with a time-out."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self._path = path
        self._timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path, self._timeout)
        self._connection = host, connection
        return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

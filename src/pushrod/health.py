"""Proving that an instance can serve: HTTP, a command, an open port, or staying up."""

import http.client

from pushrod import host
from pushrod.values import Health, Instance

_TIMEOUT = 5.0  # seconds one question may take


def ask(instance: Instance, health: Health) -> str:
    """Ask an instance over the network once; returns why it is not healthy yet, or nothing if it is.

    HTTP where the health has a path, else whether its port accepts. An instance with neither has nothing to
    be asked here.
    """
    if health.path and instance.port:
        return _http(instance.port, health.path)
    if instance.port and not host.accepts(instance.port):
        return f"nothing listens on its port ({instance.port}, given in $PORT)"
    return ""


def _http(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "pushrod-health"})
        status = connection.getresponse().status
    except ConnectionRefusedError:
        return f"nothing listens on its port ({port}, given in $PORT)"
    except (OSError, http.client.HTTPException) as e:
        return f"GET {path}: {e or type(e).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 400 else f"GET {path} answered {status}"

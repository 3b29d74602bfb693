"""A real API server of Kubernetes 1.20, from Debian's source package, with Debian's etcd; `tools.lab` builds it."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushrod.system import network, tails, waits

PROGRAM = "kube-apiserver"
_STARTS = 60.0  # seconds; it takes about five


def directory() -> Path:
    """Where the built program is kept: outside of any checkout, for all of them."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pushrod-lab" / "kubernetes-1.20.2"


def problem() -> str:
    """Why there is no API server here, with what to do; empty if there is one."""
    if not (directory() / PROGRAM).is_file() or not shutil.which("etcd"):
        return "no API server of Kubernetes was built: make lab-kubernetes"
    return ""


class ApiServer:
    """A running API server, asked as an administrator."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self._token = port, token

    def ask(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        """The status and JSON of an answer. Its certificate is its own, so nobody checks it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(content) if content is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith("{") else text

    def ready(self) -> bool:
        """Whether it serves."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def create(self, item: dict[str, Any], *, dry: bool) -> tuple[int, Any]:
        """Create an object; with `dry` only check it, as admission and validation of the server do."""
        version, metadata = item["apiVersion"], item["metadata"]
        top = f"/apis/{version}" if "/" in version else f"/api/{version}"
        kind = item["kind"].lower()
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        namespace = metadata.get("namespace")
        place = f"{top}/namespaces/{namespace}/{plural}" if namespace else f"{top}/{plural}"
        return self.ask("POST", f"{place}?dryRun=All" if dry else place, item)


@contextlib.contextmanager
def api_server(place: Path) -> Iterator[ApiServer]:
    """An API server with an etcd of its own, their data in a directory; both end with the block."""
    token, ports = secrets.token_hex(16), [network.free_port() for _ in range(3)]
    (place / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    subprocess.run(["openssl", "genrsa", "-out", place / "key.pem", "2048"], check=True, capture_output=True)
    etcd = f"http://127.0.0.1:{ports[0]}"
    argvs = [
        ["etcd", f"--data-dir={place / 'etcd'}", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
         f"--listen-peer-urls=http://127.0.0.1:{ports[1]}", "--unsafe-no-fsync"],
        [str(directory() / PROGRAM), f"--etcd-servers={etcd}", f"--secure-port={ports[2]}",
         "--bind-address=127.0.0.1", f"--cert-dir={place / 'certificates'}",
         f"--token-auth-file={place / 'tokens.csv'}",
         "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
         f"--service-account-issuer=https://127.0.0.1:{ports[2]}",
         f"--service-account-key-file={place / 'key.pem'}", f"--service-account-signing-key-file={place / 'key.pem'}",
         "--disable-admission-plugins=ServiceAccount"],
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        for argv in argvs:
            log = stack.enter_context((place / f"{Path(argv[0]).name}.log").open("wb"))
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            stack.callback(child.wait)
            stack.callback(child.kill)
        server = ApiServer(ports[2], token)
        if not waits.wait_until(server.ready, _STARTS, 0.2):
            last = "\n".join(tails.of_file(place / f"{PROGRAM}.log", 10))
            raise AssertionError(f"the API server does not answer:\n{last}")
        yield server

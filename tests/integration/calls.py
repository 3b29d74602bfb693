"""An app that speaks gRPC, and its clients: both in the app's own environment, which has the library."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from devtools.apps import run

SERVER = """
import os, signal, sys, threading, time
from concurrent import futures
import grpc

VERSION = "one"


def say(request, context):
    context.set_trailing_metadata((("x-version", VERSION),))
    if request == b"metadata":
        return repr(sorted(context.invocation_metadata())).encode()
    if request == b"missing":
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    if request.startswith(b"headers"):
        context.send_initial_metadata((("x-large", "x" * int(request[7:])),))
    return VERSION.encode() + b":" + request[:100]


def count(request, context):
    many, seconds = request.decode().split("x")
    for number in range(int(many)):
        yield b"%s:%d" % (VERSION.encode(), number)
        time.sleep(float(seconds))


def total(requests, context):
    return b"%d" % sum(len(r) for r in requests)


def chat(requests, context):
    for request in requests:
        yield VERSION.encode() + b":" + request


class Answers(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/shop.Shop/Say": grpc.unary_unary_rpc_method_handler(say),
            "/shop.Shop/Count": grpc.unary_stream_rpc_method_handler(count),
            "/shop.Shop/Total": grpc.stream_unary_rpc_method_handler(total),
            "/shop.Shop/Chat": grpc.stream_stream_rpc_method_handler(chat),
        }.get(details.method)


server = grpc.server(futures.ThreadPoolExecutor(100), options=[("grpc.max_metadata_size", 1 << 17)])
server.add_generic_rpc_handlers((Answers(),))
assert server.add_insecure_port(f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '50051')}")
server.start()
signal.signal(signal.SIGTERM, lambda *_: server.stop(8))
server.wait_for_termination()
"""

CLIENT = """
import json, queue, sys, threading, time
import grpc

target, name, authority, verb, *words = sys.argv[1:]
options = [("grpc.max_metadata_size", 1 << 17)]
if name:
    options += [("grpc.default_authority", name), ("grpc.ssl_target_name_override", name)]
if authority:
    credentials = grpc.ssl_channel_credentials(open(authority, "rb").read())
    channel = grpc.secure_channel(target, credentials, options)
else:
    channel = grpc.insecure_channel(target, options)
say = channel.unary_unary("/shop.Shop/Say")


def one(text, **more):
    try:
        answer, call = say.with_call(text.encode(), timeout=10, **more)
        return {"answer": answer.decode(), "code": "OK", "headers": dict(call.initial_metadata()),
                "trailers": dict(call.trailing_metadata())}
    except grpc.RpcError as e:
        return {"answer": e.details(), "code": e.code().name, "headers": {}, "trailers": {}}


def show(value):
    print(json.dumps(value), flush=True)


if verb == "say":
    show(one(words[0], metadata=[tuple(w.split("=")) for w in words[1:]]))
elif verb == "count":
    show([m.decode() for m in channel.unary_stream("/shop.Shop/Count")(words[0].encode(), timeout=60)])
elif verb == "total":
    many, size = map(int, words)
    show(channel.stream_unary("/shop.Shop/Total")((b"x" * size for _ in range(many)), timeout=60).decode())
elif verb == "chat":  # each message is sent when the one before has been answered
    sending, seconds = queue.Queue(), float(words[1])
    answers = channel.stream_stream("/shop.Shop/Chat")(iter(sending.get, None), timeout=120)
    heard = []
    for number in range(int(words[0])):
        sending.put(b"%d" % number)
        heard.append(next(answers).decode())
        time.sleep(seconds)
    sending.put(None)
    show([heard, [m.decode() for m in answers]])
elif verb == "together":  # so many calls at the same time
    calls = [channel.unary_stream("/shop.Shop/Count")(b"2x1", timeout=60) for _ in range(int(words[0]))]
    show([[m.decode() for m in call] for call in calls])
elif verb == "load":  # until a line comes
    ended, done = threading.Event(), []

    def go():
        while not ended.is_set():
            done.append(one("x"))
            time.sleep(0.005)

    threads = [threading.Thread(target=go) for _ in range(4)]
    [t.start() for t in threads]
    show("began")
    sys.stdin.readline()
    ended.set()
    [t.join() for t in threads]
    show({"calls": len(done), "failed": [d for d in done if d["code"] != "OK"],
          "versions": sorted({d["answer"] for d in done if d["code"] == "OK"})})
"""


def files(**top: object) -> dict[str, str | bytes]:
    """The app, with other keys at the top of its compose file; its library comes from this machine's index."""
    web = {
        "build": ".",
        "command": "python server.py",
        "ports": ["50051:50051"],
        "stop_grace_period": "10s",
        "x-pushrod": {"routes": {"/": {"grpc": True}}},
    }
    whole = {"services": {"web": web}, **top}
    return {
        "server.py": SERVER,
        "client.py": CLIENT,
        "requirements.txt": "grpcio==1.85.3\n",
        "compose.yaml": yaml.safe_dump(whole, sort_keys=False),
    }


class Calls:
    """Calls in a separate process."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def heard(self) -> Any:
        """The next line of its output."""
        assert self._child.stdout
        return json.loads(self._child.stdout.readline())

    def ended(self) -> Any:
        """Its output when it is asked to end."""
        out, _ = self._child.communicate("\n", timeout=60)
        return json.loads(out)


class Caller:
    """Calls an app at a target, optionally under its own name, trusting an authority's file or, without one,
    without TLS. `python` is an interpreter with the library."""

    def __init__(self, python: str, client: Path, target: str, name: str = "", authority: str = "") -> None:
        self._argv = (python, str(client), target, name, authority)

    def call(self, *words: str) -> Any:
        """The answer to one call."""
        done = run((*self._argv, *words), Path("/"), os.environ)
        assert done.ok, done.err
        return json.loads(done.out)

    @contextlib.contextmanager
    def calling(self, *words: str) -> Iterator[Calls]:
        """Lasting calls in another process."""
        child = subprocess.Popen(
            (*self._argv, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Calls(child)
        finally:
            child.kill()
            child.communicate()

"""The command line of the load generator."""

import argparse
import asyncio
import gc
import resource
import signal
import sys
from pathlib import Path

from devtools.load.run import Run
from devtools.load.shapes import MAX_RATE, MAX_SECONDS, RELEASE_HEADER, Plan, Protocol, Shape
from devtools.load.wire import secured, target

NAMES = ("keep", "close", "post", "slow", "upload", "events", "websocket")
UPLOAD = '{"id": "{id}", "filling": "' + "x" * 20000 + '"}'


def _arguments(argv: list[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="load", description="Constant-rate HTTP load on loopback and in the lab."
    )
    add = parser.add_argument
    add(
        "--url", action="append", default=[], help="what `keep` and `close` request; several are used in turn"
    )
    add(
        "--rate",
        type=float,
        required=True,
        help=f"requests per second, all shapes together, at most {MAX_RATE:g}",
    )
    add("--seconds", type=float, required=True, help=f"duration, at most {MAX_SECONDS:g}")
    add(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=SHARE",
        help=f"{', '.join(NAMES)}; default: keep=1 and close=1",
    )
    add("--post-url", default="", help="where `post` sends to")
    add("--post-body", default='{"id": "{id}"}', help="what it sends; {id} becomes a unique id")
    add("--slow-url", default="", help="what `slow` requests")
    add("--upload-url", default="", help="where `upload` sends a body with a unique id, in pieces")
    add("--events-url", default="", help="numbered server-sent events, which `events` reads to their end")
    add("--websocket-url", default="", help="where `websocket` sends numbers and expects each echoed")
    add("--lasting", type=float, default=2.0, help="seconds of an upload and of a WebSocket")
    add("--timeout", type=float, default=10.0, help="seconds for one request")
    add("--connections", type=int, default=16, help="minimum number of persistent connections kept open")
    add("--distance", type=float, default=0.0, help="simulated round trip to the server, in seconds")
    add(
        "--protocol",
        action="append",
        default=[],
        choices=["http", "tls", "h2"],
        help="default: http",
    )
    add("--tls-port", type=int, default=443, help="port of `tls` and `h2`")
    add("--tls-name", default="localhost", help="their host name")
    add("--trust", default="", metavar="FILE", help="file of trusted certificates for that name")
    add(
        "--at",
        default="",
        metavar="ADDRESS",
        help="address to connect to instead of the URLs' hosts: loopback or the lab",
    )
    add("--forwarded", action="store_true", help="without TLS, claim that a proxy has terminated it")
    add("--header", default=RELEASE_HEADER, help="the header that names the release")
    add("--json", type=Path, metavar="FILE", help="also write the report to this file")
    return parser, parser.parse_args(argv)


def _shapes(options: argparse.Namespace) -> tuple[Shape, ...]:
    shares = {}
    for item in options.shape or ["keep=1", "close=1"]:
        name, _, share = item.partition("=")
        if name not in NAMES or not share.isdigit():
            raise ValueError(f"--shape {item}: one of {', '.join(NAMES)}, then = and a whole number")
        shares[name] = int(share)
    urls, long = tuple(target(url, options.at) for url in options.url), options.lasting
    post, slow, upload, events, websocket = (
        tuple(target(u, options.at) for u in (url,) if u)
        for url in (
            options.post_url,
            options.slow_url,
            options.upload_url,
            options.events_url,
            options.websocket_url,
        )
    )
    shapes = (
        Shape("keep", urls, shares.get("keep", 0)),
        Shape("close", urls, shares.get("close", 0), persistent=False),
        Shape("post", post, shares.get("post", 0), "POST", body=options.post_body),
        Shape("slow", slow, shares.get("slow", 0), lasts=True),
        Shape("upload", upload, shares.get("upload", 0), "POST", False, UPLOAD, seconds=long, lasts=True),
        Shape("events", events, shares.get("events", 0), persistent=False, kind="events", lasts=True),
        Shape(
            "websocket",
            websocket,
            shares.get("websocket", 0),
            persistent=False,
            kind="websocket",
            seconds=long,
            lasts=True,
        ),
    )
    for shape in shapes:
        if shape.share and not shape.targets:
            raise ValueError(f"the shape {shape.name} has no URL")
    return tuple(_over(shape, p, options) for p in options.protocol or ["http"] for shape in shapes)


def _over(shape: Shape, protocol: Protocol, options: argparse.Namespace) -> Shape:
    """The same shape over another protocol. HTTP/2 has no WebSocket here, because nginx does not support it (RFC
    8441), and its streams share connections unless they ask for their own."""
    if protocol == "http":
        return shape
    secure = tuple(secured(t, options.tls_name, options.tls_port, options.trust) for t in shape.targets)
    changed = shape._replace(protocol=protocol, targets=secure)
    if protocol == "tls":
        return changed
    return changed._replace(persistent=shape.name != "close", share=shape.share * (shape.kind != "websocket"))


def main(argv: list[str] | None = None) -> int:
    """Run the command line: 0 if nothing failed, 1 if something did, 2 for a usage error."""
    parser, options = _arguments(argv)
    try:
        shapes = _shapes(options)
        plan = Plan(
            shapes,
            options.rate,
            options.seconds,
            options.timeout,
            options.connections,
            options.header,
            options.distance,
            forwarded=options.forwarded,
        )
    except ValueError as e:
        parser.error(str(e))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.freeze()
    return asyncio.run(_run_and_report(plan, f"sending {plan.rate:g}/s for {plan.seconds:g} s", options.json))


async def _run_and_report(plan: Plan, announce: str, file: Path | None) -> int:
    """Run and report inside the loop: while it runs, a late signal cannot end the process before the report is
    printed."""
    report = await Run(plan)(stop_on=(signal.SIGTERM, signal.SIGINT), announce=announce)
    if file:
        file.write_text(report.json())
    print(report.table(), flush=True)
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Constant-rate HTTP load that records every failure: open loop, its own client, no retries.

The times of all requests are fixed before the first is sent, so a slow answer never slows the rate, and latency
counts from the time a request was due: a stall is fully visible. It speaks HTTP/1.1, with and without TLS, and
HTTP/2. It sends only to loopback and to the lab's own network.

    python -m devtools.load --url http://127.0.0.1:8080/ --rate 200 --seconds 30 --json load.json

From a test:

    with Load("http://127.0.0.1:8080/", rate=200) as load:
        deploy()
    assert load.report.total.failed == 0, load.report.table()

`wire` has the connections, `http1` and `http2` the client on them, `streams` the lasting ones, `shapes` the
requests, `figures` the results, `run` one run, `process` a run beside a test.
"""

from devtools.load.figures import Delivery, Failure, Figures, Report, delivery, percentile
from devtools.load.http1 import parse_head
from devtools.load.process import Load
from devtools.load.run import Run
from devtools.load.shapes import Plan, Shape, mixture
from devtools.load.wire import FAILURES, RACE, UNPROCESSED, Failed, secured, target

__all__ = [
    "FAILURES",
    "RACE",
    "UNPROCESSED",
    "Delivery",
    "Failed",
    "Failure",
    "Figures",
    "Load",
    "Plan",
    "Report",
    "Run",
    "Shape",
    "delivery",
    "mixture",
    "parse_head",
    "percentile",
    "secured",
    "target",
]

"""Constant-rate HTTP/1.1 load that sees every failure: open loop, own client, nothing retried.

The instants of all requests are fixed before the first is sent, so a slow answer never slows the rate, and
latency counts from the instant a request was due: a stall shows in full. It sends to loopback only.

    python -m tests.load --url http://127.0.0.1:8080/ --rate 200 --seconds 30 --json load.json

From a test:

    with Load("http://127.0.0.1:8080/", rate=200) as load:
        deploy()
    assert load.report.total.failed == 0, load.report.table()

`wire` is the client, `streams` what it does on connections that last, `shapes` what is sent, `figures` what came of
it, `run` one run, `process` that run beside a test.
"""

from tests.load.figures import Delivery, Figures, Report, delivery, percentile
from tests.load.process import Load
from tests.load.run import Run
from tests.load.shapes import Plan, Shape, mixture
from tests.load.wire import FAILURES, RACE, Failed, parse_head, target

__all__ = [
    "FAILURES",
    "RACE",
    "Delivery",
    "Failed",
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
    "target",
]

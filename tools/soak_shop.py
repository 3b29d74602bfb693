"""Deploys the shop of `pushrod new` over and over, under load and while people buy.

    python tools/soak_shop.py --stack spring --deployments 5 --requests 5000
    python tools/soak_shop.py --stack spring --engine docker

It makes a new root in /tmp, or a server in a box (`make lab`), and removes it. Exits with 0 if no request failed over
the deployments, a rollback and the end of one of two backends by SIGKILL, and if every acknowledged order was stored
and processed once, whatever was killed; else with 1.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from devtools import java, shop_soak
from devtools.apps import a_machine
from devtools.lab import images
from devtools.lab import shop as hosted
from devtools.shop import STACKS, OnThisMachine, Shop


def main() -> int:
    """0 if the promise holds."""
    parser = argparse.ArgumentParser(prog="soak-shop", description="Deploy the shop under load.")
    parser.add_argument("--stack", choices=[*STACKS], default="spring")
    parser.add_argument("--engine", choices=["embedded", "docker"], default="embedded")
    parser.add_argument("--deployments", type=int, default=5)
    parser.add_argument("--requests", type=int, default=5000, help="minimum over all deployments together")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    options = parser.parse_args()
    if problem := lacking(options.stack, options.engine):
        print(f"soak: {problem}", file=sys.stderr)
        return 1
    with a_shop(options.stack, options.engine) as shop:
        orders, wrong = shop_soak.soak(shop, options.deployments, options.requests, options.rate)
    print(
        f"{len(orders)} orders acknowledged; "
        + ("WRONG: " + "; ".join(wrong) if wrong else "each is done once")
    )
    return 1 if wrong else 0


def lacking(stack: str, engine: str) -> str:
    """What this machine lacks for it; empty if nothing."""
    if engine == "docker":
        return images.java_problem() if stack == "spring" else images.box_problem()
    return java.lacking() if stack == "spring" else ""


@contextlib.contextmanager
def a_shop(stack: str, engine: str) -> Iterator[Shop]:
    """The shop, deployed; it is removed afterwards."""
    if engine == "docker":
        with (
            tempfile.TemporaryDirectory(prefix="pushrod-soak-") as directory,
            hosted.a_server(Path(directory), stack, workers=1) as shop,
        ):
            yield shop
    else:
        with a_machine("soak") as machine:
            yield OnThisMachine(machine, stack, workers=1)


if __name__ == "__main__":
    sys.exit(main())

"""Each step of recovery, made to fail on a Docker host: its files, its containers, its edge.

`tests/integration/test_recovery_steps.py` has the files that both engines share. Here it is what Docker, systemd and
the host's edge add: `rollback` works on the damage or says why not, with the app serving as before; `doctor --repair`
repairs it, and finds nothing to repair the second time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from devtools.lab.ground import ROOT, Ground, Shop, unwatched
from pushrod.system.processes import Completed
from tests.conftest import spread

pytestmark = pytest.mark.lab

UNIT = "/etc/systemd/system/pushrod.target.wants/pushrod-app@shop.service"


class Fault(NamedTuple):
    """A fault, as a script run by root; `$N` is the live release and `$DIR` the app's directory.

    `refused` are the exit statuses with which `rollback` may say that it cannot, none where it can; `undo` ends
    what `doctor --repair` cannot repair, because that is the task of the host's owner or of the watchdog.
    """

    script: str
    refused: tuple[int, ...] = ()
    undo: str = ""


def _directory(path: str) -> str:
    return f"rm -rf {path}; mkdir -p {path}; touch {path}/x; chown -R pushrod: {path}"


FAULTS = {
    "the files of the stores: a directory": Fault(_directory("$DIR/state/stores/compose.yaml")),
    "the unit: a directory": Fault(_directory(UNIT)),
    "the gate: a file": Fault(
        "rm -rf /run/pushrod/shop; touch /run/pushrod/shop; chown pushrod: /run/pushrod/shop"
    ),
    "the containers: gone": Fault("docker rm -f $(docker ps -aq --filter label=pushrod.app=shop)"),
    "the networks: gone": Fault(
        "for net in shop shop-r$N shop-r$N-stores; do"
        " for c in $(docker network inspect -f '{{range .Containers}}{{.Name}} {{end}}' $net); do"
        " docker network disconnect -f $net $c; done; docker network rm $net; done"
    ),
    "an instance: frozen": Fault(
        "pkill -STOP --ns $(docker inspect -f '{{.State.Pid}}' shop-r$N-web-1) --nslist pid", undo="true"
    ),
    "its images: gone": Fault(
        "docker rm -f shop-r$N-web-1; docker rmi -f $(docker images -q 'pushrod/shop/web')",
        refused=(8, 10),
        undo="pushrod restart --app shop",
    ),
    "its unit: fails": Fault(
        "mkdir -p /run/systemd/system/pushrod-app@shop.service.d;"
        " printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n'"
        " >/run/systemd/system/pushrod-app@shop.service.d/x.conf; systemctl daemon-reload;"
        " systemctl stop pushrod-app@shop; systemctl start pushrod-app@shop; true",
        undo="rm -r /run/systemd/system/pushrod-app@shop.service.d; systemctl daemon-reload",
    ),
    "the edge's trees: closed": Fault(
        f"chown root: {ROOT}/edge/trees", refused=(9, 10), undo=f"chown pushrod: {ROOT}/edge/trees"
    ),
    "the edge's pointer: a file": Fault(
        f"rm {ROOT}/edge/current; touch {ROOT}/edge/current; chown pushrod: {ROOT}/edge/current"
    ),
}


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Iterator[Shop]:
    """An app of two releases with stores; the watchdog, which would repair some faults, does not run."""
    made = ground.app("shop")
    for version in ("one", "two"):
        made.push_version(version)
    with unwatched(ground.box):
        yield made


def befall(shop: Shop, script: str, live: int) -> None:
    shop.box.exec("sh", "-c", f"DIR={shop.directory} N={live}\n{script}")


def output_of(done: Completed, *statuses: int) -> str:
    """A command's output; each note once, and no traceback."""
    text = done.stdout + done.stderr
    assert done.status in (statuses or (0,)), text
    assert "Traceback" not in text
    notes = [line for line in text.splitlines() if line.startswith("  note")]
    assert len(notes) == len(set(notes)), f"it is said more than once:\n{text}"
    return text


def rollback(shop: Shop, live: int, *statuses: int) -> int:
    """Roll back to the newest other release that is kept; returns which."""
    other = max(int(name) for name in shop.names("state/releases") if int(name) != live)
    output_of(shop.box.ssh("rollback", str(other), "--app", "shop", user="pushrod", check=False), *statuses)
    return other


def repaired(shop: Shop) -> str:
    return output_of(shop.ground.pushrod("doctor", "--repair", "--app", "shop", check=False))


@pytest.mark.parametrize("name", spread(FAULTS, 2))
def test_an_app_with_a_fault_rolls_back_and_is_repaired(shop: Shop, name: str) -> None:
    fault, live = FAULTS[name], shop.live
    befall(shop, fault.script, live)
    assert "Traceback" not in shop.ground.pushrod("doctor", check=False).stderr
    if fault.refused:
        rollback(shop, live, *fault.refused)
        befall(shop, fault.undo, live)
    live = rollback(shop, shop.live)
    assert shop.serves(live)

    befall(shop, fault.undo or fault.script, live)
    print(repaired(shop))
    live = shop.live
    assert repaired(shop) == f"shop: nothing was damaged\nshop: live is release {live}\n"
    assert shop.serves(live)


def test_down_and_destroy_work_with_several_faults(shop: Shop) -> None:
    """The last test of this file: it removes the app."""
    for name in (
        "the files of the stores: a directory",
        "the unit: a directory",
        "the gate: a file",
        "the networks: gone",
    ):
        befall(shop, FAULTS[name].script, shop.live)
    output_of(shop.ground.pushrod("down", "--app", "shop", check=False))
    befall(shop, FAULTS["the gate: a file"].script, shop.live)
    output_of(shop.ground.pushrod("apps", "destroy", "shop", "--yes", check=False))
    assert shop.box.docker("ps", "-aq", "--filter", "label=pushrod.app=shop") == ""
    assert (
        shop.box.exec("sh", "-c", f"ls -d {shop.directory} {UNIT} /run/pushrod/shop", check=False).stdout
        == ""
    )

"""The names that a pod gets before its programs start, by the script itself, with a name server of the test."""

import copy
from pathlib import Path

import pytest

from pushrod.engines.kubernetes import bases
from pushrod.engines.kubernetes.objects import Cluster
from pushrod.system import processes
from tests.unit.engines import exports
from tests.unit.engines.kubernetes.test_keys import BASE

GETENT = """\
#!/bin/sh
case "$2" in
shop-r7-web) echo "10.96.0.7      shop-r7-web.shop.svc.cluster.local" ;;
shop-r7-other) echo "10.96.0.8      shop-r7-other.shop.svc.cluster.local" ;;
*) exit 2 ;;
esac
"""


def ran(tmp_path: Path, getent: str = GETENT) -> tuple[int, str]:
    """The status of the script of the web service's pods, and the file that it has written."""
    document = copy.deepcopy(BASE)
    document["services"]["other"]["container_name"] = "Second_Name"
    document["services"]["web"]["extra_hosts"] = ["printer=10.9.8.7"]
    whole = bases.render(exports.of_document(document, tmp_path, {}), Cluster("shop"))
    (item,) = (
        o
        for o in whole.steps["release"]
        if o["metadata"]["name"] == "shop-r7-web" and o["kind"] == "Deployment"
    )
    pod = item["spec"]["template"]["spec"]
    assert "hostAliases" not in pod
    (container,) = pod["initContainers"]
    script = container["command"][2].replace("$$", "$").replace("/names/hosts", str(tmp_path / "hosts"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "getent").write_text(getent)
    (tmp_path / "bin" / "getent").chmod(0o755)
    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "ADDRESS": "10.1.2.3", "HOSTNAME": "shop-r7-web-abc"}
    done = processes.run(["/bin/sh", "-c", script], env=env)
    return done.status, (tmp_path / "hosts").read_text()


def test_each_name_has_the_address_of_its_releases_service(tmp_path: Path) -> None:
    status, text = ran(tmp_path)
    assert status == 0
    assert text.splitlines() == [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        "10.1.2.3 shop-r7-web-abc",
        "10.96.0.7 web",
        "10.96.0.8 other Second_Name",
        "10.9.8.7 printer",
    ]


def test_a_pod_does_not_start_before_every_name_has_an_address(tmp_path: Path) -> None:
    status, _ = ran(tmp_path, "#!/bin/sh\nexit 2\n")
    assert status == 1


@pytest.mark.parametrize("alone", ["one service", "no network"])
def test_pods_that_reach_no_other_service_need_no_names(alone: str, tmp_path: Path) -> None:
    document = copy.deepcopy(BASE)
    if alone == "one service":
        del document["services"]["other"]
        name = "shop-r7-web"
    else:
        document["services"]["other"] |= {"network_mode": "none", "expose": []}
        name = "shop-r7-other"
    whole = bases.render(exports.of_document(document, tmp_path, {}), Cluster("shop"))
    (item,) = (
        o for o in whole.steps["release"] if o["metadata"]["name"] == name and o["kind"] == "Deployment"
    )
    assert "initContainers" not in item["spec"]["template"]["spec"]

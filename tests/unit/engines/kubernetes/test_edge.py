"""The edge of a release in a cluster: a configuration that a real nginx accepts, with every route of the manifest."""

import re
from pathlib import Path

import pytest

from pushrod.adapters import openssl
from pushrod.adapters.binaries import Parts
from pushrod.core.site import CHAIN, KEY
from pushrod.engines.exported import Exported
from pushrod.engines.kubernetes import edge
from pushrod.engines.kubernetes.objects import Cluster, Object
from pushrod.system import files, processes
from tests.unit.engines.kubernetes.test_bases import the_app


@pytest.fixture(scope="module")
def x(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return the_app("routes", tmp_path_factory.mktemp("routes"))


def written(x: Exported, directory: Path) -> Path:
    """The configuration as pods find it, below another directory and with addresses for names."""
    for path, text in edge.configuration(x).items():
        here = re.sub(r"shop-r7-[a-z]+:", "127.0.0.1:", text.replace("/edge", str(directory)))
        files.write(directory / "trees" / "0" / path, here)
    for name in ("run", "logs", "passwords/shop", "certificates/shop/00000000"):
        (directory / name).mkdir(parents=True)
    (directory / "passwords/shop/0123456789abcdef").write_text("anna:{SSHA}x\n")
    pair = openssl.authority("test")
    (directory / "certificates/shop/00000000" / CHAIN).write_text(pair.chain)
    (directory / "certificates/shop/00000000" / KEY).write_text(pair.key)
    return directory / "trees" / "0" / "nginx.conf"


@pytest.mark.slow
def test_nginx_accepts_the_configuration(x: Exported, tmp_path: Path) -> None:
    main = written(x, tmp_path)
    done = processes.run([Parts().nginx, "-t", "-p", tmp_path, "-c", main, "-e", "stderr"])
    assert (
        "syntax is ok" in done.stderr
    )  # it then looks for accounts and ports that this machine need not have


def test_each_route_and_name_is_in_it(x: Exported) -> None:
    text = edge.configuration(x)["sites/shop.conf"]
    for route in x.site.routing.routes:
        assert f"location {route.prefix}" in text or f"location = {route.prefix}" in text
    assert "server shop-r7-web:3000" in text
    assert "server shop-r7-accounts:5000" in text
    for name in ("shop.example.com", "www.shop.example.com"):
        assert name in text
    assert "add_header X-Pushrod-Release 7 always;" in text


def test_the_switch_is_the_selector_of_one_service(x: Exported) -> None:
    def selector(release: str) -> Object:
        item = edge.switch(x._replace(release=release), Cluster("shop"))
        assert item["metadata"]["name"] == "shop"
        return dict(item["spec"]["selector"])

    before, after = selector("r7"), selector("r8")
    assert {k for k in before if before[k] != after[k]} == {"pushrod.release"}
    labels = edge.render(x, Cluster("shop"))[-2]["spec"]["template"]["metadata"]["labels"]
    assert before.items() <= labels.items()


def test_an_older_kubelet_needs_a_program_to_wait(x: Exported) -> None:
    def before_stop(version: tuple[int, int]) -> Object:
        spec = edge.render(x, Cluster("shop", version))[-2]["spec"]["template"]["spec"]
        return dict(spec["containers"][0]["lifecycle"]["preStop"])

    assert before_stop((1, 29)) == {"exec": {"command": ["sleep", "10"]}}
    assert before_stop((1, 30)) == {"sleep": {"seconds": 10}}


def test_hidden_files_are_not_served(x: Exported) -> None:
    paths = [
        item["path"]
        for config in edge.render(x, Cluster("shop"))
        if config["kind"] == "Deployment"
        for volume in config["spec"]["template"]["spec"]["volumes"]
        if volume["name"].startswith("files-")
        for item in volume["configMap"]["items"]
    ]
    assert paths == ["img/x.png", "index.html"]

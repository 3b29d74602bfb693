"""The rendered configuration, checked by a linter for nginx (Gixy-Next)."""

import sys
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters.nginx.tree import render_tree
from pushrod.core.site import Site
from pushrod.system import files, processes
from tests.unit.adapters.nginx.samples import BLOG, EVERYWHERE, NEWEST, SECURE, SHOP, SOCKET, changed
from tests.unit.adapters.nginx.test_own_site import PAGE
from tests.unit.adapters.nginx.test_server import EVERY

EXPLAINED = {
    "http_splitting": "`return 308 $uri/`: $uri is a directory of the commit, which the line above has looked for",
    "if_is_evil": "`if` in a location that only sets a variable",
    "proxy_buffering_off": "what a route with `stream` asks for",
    "return_bypasses_allow_deny": "`return 597` leads to a place beside the route that has the same lines",
    "stale_dns_cache": "`proxy_pass http://$pool_…`: a group of addresses, no name",
    "try_files_is_evil_too": "open_file_cache would show files of a release that is gone",
}
"""Its findings, and why they are accepted."""


class Remark(msgspec.Struct):
    plugin: str
    config: str = ""


def lint(place: Path, *sites: Site) -> list[Remark]:
    tree = "3-00c0ffee"
    made = {site.app: site for site in sites}
    listening = msgspec.structs.replace(EVERYWHERE, own=(PAGE,), metrics=9180)
    texts = render_tree(tree, made, listening=listening, directory=place, socket=SOCKET, known=NEWEST)
    for name, text in texts.items():
        files.write(place / "trees" / tree / name, text)
    argv: list[str | Path] = [
        Path(sys.executable).with_name("gixy-next"),
        "-f",
        "json",
        place / "trees" / tree / "nginx.conf",
    ]
    done = processes.run(argv, timeout=60)
    assert "error" not in done.stderr, done.stderr
    return msgspec.json.decode(done.stdout, type=list[Remark])


@pytest.mark.slow
def test_every_linter_finding_is_explained(tmp_path: Path) -> None:
    result = lint(tmp_path, EVERY, SECURE, changed(SHOP, port=81), BLOG)
    assert {f.plugin for f in result} == {*EXPLAINED}
    (splitting,) = (f.config for f in result if f.plugin == "http_splitting")
    assert splitting.count("return") == splitting.count("return 308 $uri/$is_args$args") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "plugin"),
    [
        ("location /files { alias /srv/files/; }", "alias_traversal"),
        ("location ~ /v1/((?<action>[^.]*)\\.json)?$ { add_header X-Action $action; }", "http_splitting"),
        ('proxy_set_header Host "$http_host";', "host_spoofing"),
    ],
)
def test_the_linter_finds_known_mistakes(tmp_path: Path, text: str, plugin: str) -> None:
    routing = msgspec.structs.replace(SHOP.routing, snippets={"own.conf": text})
    assert plugin in {f.plugin for f in lint(tmp_path, changed(SHOP, routing=routing))}

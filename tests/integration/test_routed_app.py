"""Routes end to end: pushed, replaced, rolled back, failed, killed, destroyed, and what each leaves behind."""

import base64
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from devtools import apps
from devtools.apps import App, Machine, eventually, hooks_of
from tests.integration.edges import Answer, ask

pytestmark = pytest.mark.integration

WEB: dict[str, Any] = {
    "health": {"path": "/healthz", "deadline": "15s"},
    "sticky": True,
    "routes": {
        "/": {"files": "./frontend/dist", "try": "index.html"},
        "/web/": {"strip_prefix": True},
        "/old/": {"redirect": {"to": "/new/", "status": 301}},
        "/admin/": {"strip_prefix": True, "auth": {"basic": "ADMINS"}},
    },
}
API = {
    "build": ".",
    "command": "python app.py",
    "expose": ["8000"],
    "x-pushrod": {"routes": {"/api/": {"strip_prefix": True, "headers": {"X-Robots-Tag": "none"}}}},
}
COMPOSE = apps.manifest({"api": API}, **{"x-pushrod": WEB}, deploy={"replicas": 2}) + (
    "x-pushrod: {keep: 2, nginx: docker/nginx/*.conf}\n"
)
ADMINS = "ann:correct horse\n"


def frontend(version: str) -> dict[str, str | bytes]:
    """A build of the page: files with content hashes, a page that names them, and files that must not be served."""
    name = f"frontend/dist/assets/app-0000{version}.js"
    return {name: version, "frontend/dist/index.html": f"page {version}", "frontend/dist/.hidden": "hidden"}


def files(version: str) -> dict[str, str | bytes]:
    own = 'location = /hello { return 200 "hello"; }\nlocation = /go { proxy_pass http://app-shop.api/; }\n'
    return {"app.py": apps.APP, "compose.yaml": COMPOSE, "docker/nginx/own.conf": own, **frontend(version)}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    """Run everything with a umask that closes files to others."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    app = machine.app("shop", files("aaaa"), push=False)
    app.must("secret", "set", "ADMINS", stdin=ADMINS)
    done = app.tree.push()
    assert done.ok, done.err
    app.good = app.tree.head()
    return app


def get(app: App, path: str, **headers: str) -> Answer:
    return ask(app.settings["port"], path, **headers)


def replace(app: App, version: str) -> None:
    """Push a frontend that replaces the previous one."""
    app.restore()
    for path in (app.tree.path / "frontend/dist/assets").glob("*.js"):
        path.unlink()
    app.tree.commit(frontend(version), version)
    done = app.tree.push()
    assert done.ok, done.err
    app.good = app.tree.head()


def kept(app: App) -> list[str]:
    """Everything the edge has of an app's files."""
    directory = app.machine.root / "edge" / "static" / app.name
    return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())


def scripts(app: App) -> dict[str, int]:
    """Each build's script, and the status of a request for it."""
    versions = ("aaaa", "bbbb", "cccc", "dddd")
    return {v: get(app, f"/assets/app-0000{v}.js").status for v in versions}


def test_every_route_leads_to_its_target(shop: App) -> None:
    page, script = get(shop, "/some/page"), get(shop, "/assets/app-0000aaaa.js")
    assert (page.status, page.body, page.headers["Cache-Control"]) == (200, "page aaaa", "no-cache")
    assert (script.body, script.headers["Cache-Control"]) == ("aaaa", "public, max-age=31536000, immutable")
    assert get(shop, "/").body == "page aaaa"
    assert get(shop, "/.hidden").body == "page aaaa"
    assert (get(shop, "/web/").body, get(shop, "/web/nothing").status) == ("one", 404)
    assert (get(shop, "/api/").body, get(shop, "/api/").headers["X-Robots-Tag"]) == ("one", "none")
    moved = get(shop, "/old/x")
    assert (moved.status, moved.headers["Location"]) == (301, "/new/")
    assert (get(shop, "/hello").body, get(shop, "/go").body) == ("hello", "one")


def test_a_closed_route_requires_the_password(shop: App) -> None:
    def status_with(words: str) -> int:
        return get(shop, "/admin/", Authorization=f"Basic {base64.b64encode(words.encode()).decode()}").status

    assert get(shop, "/admin/").status == 401
    assert (status_with("ann:wrong"), status_with("ann:correct horse")) == (401, 200)


def test_requests_reach_the_intended_services_and_instances(shop: App) -> None:
    web = {get(shop, "/web/process").body for _ in range(12)}
    api = {get(shop, "/api/process").body for _ in range(4)}
    assert (len(web), len(api), len(web & api)) == (2, 1, 0)
    cookie = get(shop, "/web/").headers["Set-Cookie"].split(";")[0]
    assert len({get(shop, "/web/process", Cookie=cookie).body for _ in range(6)}) == 1


def test_open_pages_find_their_scripts_as_long_as_their_release_is_kept(shop: App) -> None:
    """Two releases are kept. After a rollback the page is the old one, and all parts of both releases are there."""
    replace(shop, "bbbb")
    assert get(shop, "/").body == "page bbbb"
    assert scripts(shop) == {"aaaa": 200, "bbbb": 200, "cccc": 404, "dddd": 404}
    replace(shop, "cccc")
    assert scripts(shop) == {"aaaa": 404, "bbbb": 200, "cccc": 200, "dddd": 404}
    shop.must("rollback")
    assert get(shop, "/").body == "page bbbb"
    assert scripts(shop) == {"aaaa": 404, "bbbb": 200, "cccc": 200, "dddd": 404}
    assert not any("aaaa" in name for name in kept(shop))
    replace(shop, "dddd")
    assert get(shop, "/").body == "page dddd"


def test_a_deployment_causes_one_reload(shop: App) -> None:
    """Whatever it changes: instances, files, snippets."""
    log = shop.machine.root / "edge" / "logs" / "error.log"
    before = log.read_text().count("signal 1 (SIGHUP) received")
    replace(shop, "dddd")
    assert log.read_text().count("signal 1 (SIGHUP) received") == before + 1


def test_a_deployment_that_fails_leaves_no_files(shop: App) -> None:
    shop.restore()
    before, live, page = kept(shop), shop.live, get(shop, "/").body
    shop.tree.commit({"app.py": "import sys\nsys.exit(7)\n", **frontend("eeee")}, "dies")
    assert shop.tree.push().status == 1
    assert (kept(shop), shop.live, get(shop, "/").body) == (before, live, page)
    assert not any("eeee" in str(p) for p in (shop.machine.root / "edge").rglob("*"))


def test_a_deployment_with_a_missing_secret_names_it(shop: App) -> None:
    shop.restore()
    before, passwords = kept(shop), shop.machine.root / "edge" / "passwords" / "shop"
    known = sorted(passwords.iterdir())
    shop.must("secret", "unset", "ADMINS")
    try:
        done = shop.pushrod("deploy")
        assert apps.complaint(done).what == "the secret ADMINS is not set"
        assert apps.complaint(done).where == "routes./admin/.auth.basic"
        assert done.status == 3
    finally:
        shop.must("secret", "set", "ADMINS", stdin=ADMINS)
    assert (kept(shop), sorted(passwords.iterdir())) == (before, known)


def test_files_copied_by_a_killed_deployment_are_removed(shop: App) -> None:
    shop.restore()
    before, live = kept(shop), shop.live
    many = {f"frontend/dist/many/{n}-0000ffff.txt": "x" for n in range(3000)}
    shop.tree.commit({**many, **frontend("ffff")}, "many files")
    number = max(e["release"] for e in shop.journal()) + 1
    push = shop.tree.pushing()
    try:
        copy = shop.machine.root / "edge" / "static" / "shop" / str(number)
        eventually(copy.exists, "files are copied")
        os.kill(hooks_of(shop)[1], signal.SIGKILL)
        assert not push.done().ok
    finally:
        push.end()
    assert kept(shop) != before
    assert "removed" in shop.pushrod("status").err
    assert (kept(shop), shop.live) == (before, live)
    assert get(shop, "/").status == 200


def test_an_app_that_is_destroyed_leaves_nothing_at_the_edge(shop: App) -> None:
    other = shop.machine.app("other", {"app.py": apps.APP, "compose.yaml": apps.manifest()})
    shop.must("apps", "destroy", "shop", "--yes")
    edge = shop.machine.root / "edge"
    named = [p for p in edge.rglob("*") if "shop" in p.name]
    mentions = [
        p for p in edge.rglob("*") if p.is_file() and p.parent.name != "logs" and b"shop" in p.read_bytes()
    ]
    assert (named, mentions) == ([], [])
    assert other.get().body == "one"

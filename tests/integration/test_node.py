"""Node.js without Docker: a service that npm installs and builds, and a front end that is built for the edge."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from devtools.apps import App, Machine
from devtools.shop import LONGEST

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not shutil.which("npm"), reason="no npm on this machine (Debian: nodejs, npm)"),
]
SERVER = """\
const http = require("http");
const greeting = require("greeting");
http.createServer((request, answer) => answer.end(`${greeting} from ${process.env.PUSHROD_RELEASE}`))
  .listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
"""
BUILD = """\
const fs = require("fs");
fs.mkdirSync("dist", {recursive: true});
"""
PAGE = '<script type="module" src="/assets/app.js"></script>'
MANIFEST = {
    "services": {
        "web": {
            "build": "./web",
            "expose": ["3000"],
            "x-pushrod": {"routes": {"/api/": {}, "/": {"files": "./page/dist", "try": "index.html"}}},
        }
    }
}
DOCKERFILE = """\
FROM node:20-slim
WORKDIR /app
COPY package*.json ./
RUN npm ci
COPY . .
RUN npm run build
CMD ["npm", "start"]
"""


def package(name: str, *, of_the_commit: bool) -> dict[str, str]:
    """A package.json and its lock; with a dependency that is in the commit, so that nothing is fetched."""
    own = {"dependencies": {"greeting": "file:./greeting"}} if of_the_commit else {}
    described = {"name": name, "version": "1.0.0", **own}
    packages: dict[str, object] = {"": described}
    if of_the_commit:
        packages |= {
            "greeting": {"version": "1.0.0"},
            "node_modules/greeting": {"resolved": "greeting", "link": True},
        }
    scripts = {"start": "node dist/server.js", "build": "node build.js"}
    lock = {"name": name, "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": packages}
    return {
        "package.json": json.dumps({**described, "scripts": scripts}),
        "package-lock.json": json.dumps(lock),
    }


def files(greeting: str) -> dict[str, str]:
    web = {
        **package("web", of_the_commit=True),
        "Dockerfile": DOCKERFILE,
        "server.js": SERVER,
        "build.js": BUILD + 'fs.copyFileSync("server.js", "dist/server.js");\n',
        "greeting/package.json": json.dumps({"name": "greeting", "version": "1.0.0", "main": "index.js"}),
        "greeting/index.js": f"module.exports = {json.dumps(greeting)};\n",
    }
    page = {
        **package("page", of_the_commit=False),
        "build.js": BUILD + f"fs.writeFileSync('dist/index.html', {json.dumps(PAGE)});\n"
        "fs.mkdirSync('dist/assets', {recursive: true});\n"
        f"fs.writeFileSync('dist/assets/app.js', {json.dumps(greeting)});\n",
    }
    return {
        "compose.yaml": yaml.safe_dump(MANIFEST),
        **{f"web/{name}": text for name, text in web.items()},
        **{f"page/{name}": text for name, text in page.items()},
    }


@pytest.fixture(scope="module")
def app(new_machine: Callable[[], Machine]) -> App:
    return new_machine().app("node", files("hello"))


def push(app: App, changed: dict[str, str]) -> str:
    app.tree.commit(changed)
    done = app.tree.push(timeout=LONGEST)
    assert done.ok, done.err
    return done.err


def environments(app: App) -> list[Path]:
    return sorted(path for path in (app.machine.root / "environments").iterdir() if path.is_dir())


def test_a_service_and_a_front_end_are_built_and_built_again_only_when_they_change(app: App) -> None:
    assert app.get("/api/").body == "hello from 1"
    assert app.get("/").body == PAGE
    assert app.get("/some/page").body == PAGE
    assert app.get("/assets/app.js").body == "hello"
    first = environments(app)
    assert len(first) == 2
    assert "npm" not in push(app, {"readme": "changed"})
    assert (app.get("/api/").body, environments(app)) == ("hello from 2", first)
    push(app, {name: text for name, text in files("bye").items() if "greeting" in name or "page/" in name})
    assert (app.get("/api/").body, app.get("/assets/app.js").body) == ("bye from 3", "bye")
    assert len(environments(app)) == 4


def test_without_a_lock_it_is_installed_as_the_dockerfile_does(app: App) -> None:
    good = app.tree.head()
    (app.tree.path / "web/package-lock.json").unlink()
    done = push(app, {"web/Dockerfile": DOCKERFILE.replace("npm ci", "npm install")})
    assert "installing from web/package.json, without a lock, with Node.js" in done
    assert app.get("/api/").body == f"bye from {app.live}"
    app.tree.commit({"web/Dockerfile": DOCKERFILE})
    refused = app.pushrod("plan")
    assert (refused.status, "web: its dependencies are in package.json, without a lock" in refused.err) == (
        5,
        True,
    )
    app.tree.reset(good)


def test_what_cannot_be_built_is_refused_and_the_live_release_serves(app: App) -> None:
    before = app.get("/api/").body
    for changed, words in (
        ({"page/build.js": "process.exit(3);\n"}, ("page/dist: `npm run build` fails", "page/package.json")),
        ({"page/build.js": ""}, ("`npm run build` makes no directory `page/dist`", "page/package.json")),
        ({"web/Dockerfile": DOCKERFILE.replace("20", "99")}, ("web needs Node.js", "99 or newer")),
    ):
        good = app.tree.head()
        app.tree.commit(changed)
        done = app.pushrod("deploy")
        assert done.status == 5, done.err
        assert all(word in done.err for word in words), done.err
        app.tree.reset(good)
        assert app.get("/api/").body == before

"""Bad commits, calls and state: one clear message, its own exit status, and the live release keeps serving."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devtools import apps
from devtools.apps import App, Machine
from pushrod.adapters import openssl
from tests.conftest import spread
from tests.integration.disks import ZEROS, fill, on_small_disk
from tests.unit.adapters.test_openssl import made as certificate

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    """The app for all of these tests; it has two releases, so that a rollback is possible."""
    app = machine.app("shop")
    app.push_change()
    return app


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the app is live and consistent."""
    yield
    if "shop" in request.fixturenames:
        app: App = request.getfixturevalue("shop")
        app.restore()
        app.settled()


# ---- commits ----------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A commit that cannot be deployed: its changes, the exit status of `deploy`, and words of the message."""

    name: str
    files: Mapping[str, str | bytes]
    code: int
    words: tuple[str, ...]


def compose(services: Mapping[str, object] | None = None, **changes: object) -> dict[str, str]:
    return {"compose.yaml": apps.manifest(services, **changes)}


def health(path: str = "/healthz", deadline: str = "1500ms") -> dict[str, object]:
    return {"health": {"path": path, "deadline": deadline}}


def own(**keys: object) -> dict[str, Any]:
    return {"x-pushrod": {**health(deadline="15s"), **keys}}


IDLE = "python -c 'import time; time.sleep(1000)'"
DIES = "import sys\nprint('no database', flush=True)\nsys.exit(7)\n"
SILENT = "import time\nprint('still thinking', flush=True)\ntime.sleep(1000)\n"
MANIFESTS = (
    Case("no yaml", {"compose.yaml": "services:\n  web: [\n"}, 3, ("compose.yaml",)),
    Case("an empty file", {"compose.yaml": ""}, 3, ("compose.yaml",)),
    Case("compose's own schema", compose(ports={"8000": True}), 3, ("services.web.ports", "compose.yaml")),
    Case("a key compose lacks", compose(replicas=2), 3, ("services.web", "replicas")),
    Case(
        "an unknown key of ours",
        compose(**{"x-pushrod": {"helth": "/healthz"}}),
        3,
        ("unknown key `helth`", "services.web.x-pushrod.helth", "did you mean `health`?"),
    ),
    Case(
        "an unknown key of ours at the top",
        {"compose.yaml": apps.manifest() + "x-pushrod: {kepe: 3}\n"},
        3,
        ("unknown key `kepe`", "x-pushrod.kepe", "did you mean `keep`?"),
    ),
    Case(
        "a value of the wrong kind", compose(**own(health="no path")), 3, ("services.web.x-pushrod.health",)
    ),
    Case("an unknown service", compose(depends_on=["databse"]), 3, ("databse", "services.web")),
    Case(
        "a variable that is not set",
        compose(environment={"KEY": "${API_KEY:?}"}),
        3,
        ("API_KEY", "pushrod secret set API_KEY"),
    ),
    Case(
        "no entry",
        compose({"other": {"build": ".", "command": IDLE}}, ports=None, **{"x-pushrod": None}),
        3,
        ("no entry", "other", "web", "x-pushrod: {role: entry}"),
    ),
    Case(
        "two entries",
        compose({"app": {"build": ".", "command": IDLE, "ports": ["8000:8000"]}}, **{"x-pushrod": None}),
        3,
        ("two entries", "app", "web", "x-pushrod: {role: entry}"),
    ),
    Case(
        "a store without an engine",
        compose({"m": {"image": "mongo:7"}}),
        3,
        ("mongo:7", "services.m", "Docker"),
    ),
    Case(
        "an image that cannot be pulled",
        compose({"thing": {"image": "example/thing:1"}}),
        3,
        ("example/thing:1", "services.thing.image"),
    ),
    Case("no command", compose(command=None), 3, ("no command", "services.web", "command:")),
    Case("a context outside", compose(build="../elsewhere"), 3, ("services.web.build",)),
    Case(
        "a lock that cannot be read",
        {"pyproject.toml": "[tool.poetry.dependencies]\npython = '*'\n", "poetry.lock": "[[package]\n"},
        3,
        ("not valid TOML", "poetry.lock"),
    ),
)
PYTHON = "FROM python:3.12-slim\nWORKDIR /code\nCOPY . .\n"
# Of what the files of an image say, read and partly run without Docker.
IMAGES = (
    Case(
        "no such dockerfile",
        compose(build={"context": ".", "dockerfile": "docker/web.Dockerfile"}),
        3,
        ("the commit has no file `docker/web.Dockerfile`", "services.web.build.dockerfile"),
    ),
    Case(
        "no such stage",
        {"Dockerfile": f"{PYTHON}", **compose(build={"context": ".", "target": "production"})},
        3,
        ("production", "Dockerfile"),
    ),
    Case("a dockerfile without a base", {"Dockerfile": "RUN true\n"}, 3, ("FROM", "Dockerfile")),
    Case(
        "an entrypoint that no COPY brings",
        {
            "Dockerfile": f'{PYTHON}ENTRYPOINT ["/entrypoint.sh"]\nCMD ["python", "app.py"]\n',
            **compose(command=None),
        },
        5,
        ("web: its program `/entrypoint.sh`", "services.web.command"),
    ),
    Case(
        "a package of the image that is nowhere",
        {"Dockerfile": f"{PYTHON}RUN pip install a-package-that-does-not-exist==9\n"},
        5,
        ("web: its dependencies cannot be installed", "services.web"),
    ),
    Case(
        "a RUN line of the project that fails",
        {"Dockerfile": f"{PYTHON}RUN python manage.py collectstatic\n", "manage.py": "raise SystemExit(3)\n"},
        5,
        (
            "`python manage.py collectstatic`, a RUN line of its Dockerfile, ended with status 3",
            "services.web.build",
        ),
    ),
    Case(
        "a program of the system",
        {"Dockerfile": f"{PYTHON}RUN apt-get update && apt-get install -y wkhtmltopdf\n"},
        5,
        ("web: its image installs wkhtmltopdf", "services.web.build", "apt-get install wkhtmltopdf"),
    ),
    Case(
        "a uv.lock that cannot be read",
        {"pyproject.toml": "[project]\nname = 'x'\nversion = '1'\n", "uv.lock": "version = \n"},
        5,
        ("web: its dependencies cannot be installed", "uv.lock"),
    ),
    Case(
        "a Pipfile.lock that cannot be read",
        {"Pipfile": "[packages]\n", "Pipfile.lock": "{"},
        3,
        ("Pipfile.lock",),
    ),
    Case(
        "a volume where the machine has its own files",
        {"compose.yaml": apps.manifest(volumes=["data:/etc"]) + "volumes: {data: {}}\n"},
        3,
        ("web: `data` cannot be mounted at /etc", "services.web.volumes"),
    ),
    Case(
        "a mounted file that is not in the commit",
        compose(volumes=["./settings.ini:/code/settings.ini:ro"]),
        3,
        (
            "the file `settings.ini`, mounted at /code/settings.ini, is not in the commit",
            "services.web.volumes",
        ),
    ),
    Case(
        "a language without a builder",
        {"Dockerfile": 'FROM golang:1.23\nRUN go build -o /shop\nCMD ["/shop"]\n', **compose(command=None)},
        5,
        ("web: its program `/shop` is neither", "services.web.command"),
    ),
    Case(
        "a jar that nothing builds",
        {"Dockerfile": 'FROM eclipse-temurin:21-jre\nCOPY app.jar .\nCMD ["java", "-jar", "app.jar"]\n'}
        | compose(command=None),
        5,
        ("web: it runs `app.jar`, which is not in the commit", "services.web.command"),
    ),
    Case(
        "a JDK that is newer than this machine's",
        {
            "Dockerfile": 'FROM eclipse-temurin:21-jre\nCOPY target/app.jar .\nCMD ["java", "-jar", "app.jar"]\n'
        }
        | {"pom.xml": "<project><properties><java.version>99</java.version></properties></project>"}
        | compose(command=None),
        5,
        ("web is built with Maven, and this machine has no JDK", "99 or newer", "pom.xml"),
    ),
    Case(
        "packages of Node.js without a lock",
        {
            "Dockerfile": "FROM node:20\nWORKDIR /code\nCOPY . .\n",
            "package.json": '{"dependencies": {"express": "5"}}',
        }
        | {"server.js": "", **compose(command="node server.js")},
        5,
        ("web: its dependencies are in package.json, without a lock", "services.web", "package-lock.json"),
    ),
)
BUILDS = (
    Case(
        "no such requirement",
        {"requirements.txt": "a-requirement-that-does-not-exist==9\n"},
        5,
        ("dependencies cannot be installed", "requirements.txt"),
    ),
    Case("no requirement at all", {"requirements.txt": "==9 what\n"}, 5, ("requirements.txt",)),
    Case("no such program", compose(command="gunicorm app"), 5, ("gunicorm", "services.web.command")),
)
STARTS = (
    Case(
        "its entrypoint fails",
        {
            "entrypoint.sh": "#!/bin/sh\necho 'no settings' >&2\nexit 3\n",
            "Dockerfile": f'{PYTHON}RUN chmod +x entrypoint.sh\nENTRYPOINT ["./entrypoint.sh"]\n',
        },
        8,
        ("ended at boot", "instance web-1"),
    ),
    Case(
        "the release command fails",
        compose(**own(release="sh -c 'echo no such table; exit 3'")),
        7,
        ("the release command", "ended with status 3", "service web"),
    ),
    Case(
        "no program for the release command",
        compose(**own(release="alembicc upgrade head")),
        5,
        ("alembicc", "services.web.x-pushrod.release"),
    ),
    Case(
        "it ends at boot",
        {"app.py": DIES},
        8,
        ("ended at boot", "instance web-1", "the live release is unchanged"),
    ),
    Case("it cannot be read", {"app.py": "import ("}, 8, ("ended at boot", "instance web-1")),
    Case(
        "it never listens",
        {"app.py": SILENT, **compose(**{"x-pushrod": health()})},
        8,
        ("within 1.5 s", "nothing listens on its port", "instance web-1"),
    ),
    Case(
        "no such health page",
        compose(**{"x-pushrod": health("/nothing")}),
        8,
        ("within 1.5 s", "GET /nothing answered 404"),
    ),
    Case(
        "a worker ends at boot",
        compose({"worker": {"build": ".", "command": "python -c 'raise SystemExit(3)'"}}),
        8,
        ("ended at boot", "instance worker-1", "service_completed_successfully"),
    ),
)
KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA " + "PRIVATE KEY-----\n"
SECRETS = (
    Case("an environment file", {".env": "API_KEY=swordfish\n"}, 4, (".env", "secret import")),
    Case("one in a folder", {"backend/.env.production": "A=swordfish\n"}, 4, ("backend/.env.production",)),
    Case("a private key", {"deploy/id_rsa": KEY}, 4, ("deploy/id_rsa line 1", "Private Key")),
)

OWN = "docker/nginx/own.conf"


def snippet(text: str) -> dict[str, str]:
    return {OWN: text, "compose.yaml": apps.manifest() + f"x-pushrod: {{nginx: {OWN}}}\n"}


def routes(**keys: object) -> dict[str, str]:
    return compose(**own(routes={"/a/": keys}))


GATE = (
    Case(
        "an unknown key of a route",
        routes(ratelimit="50/s"),
        3,
        (
            "unknown key `ratelimit`",
            "services.web.x-pushrod.routes./a/.ratelimit",
            "did you mean `rate_limit`?",
        ),
    ),
    Case(
        "two routes with one path",
        {"compose.yaml": apps.manifest() + "    routes: {/a/: {}, /a/: {}}\n"},
        3,
        ("mapping key", "already defined", "compose.yaml"),
    ),
    Case(
        "two services with one path",
        compose(
            {"api": {"build": ".", "command": "python app.py", **own(routes={"/a": {}})}},
            **own(routes={"/a/": {}}),
        ),
        3,
        ("two routes for `/a/`", "services.web.x-pushrod.routes./a/", "services.api.x-pushrod.routes./a"),
    ),
    Case(
        "no rate",
        routes(rate_limit="50/min/s"),
        3,
        ("a rate such as 50/s", "found `50/min/s`", "routes./a/.rate_limit"),
    ),
    Case(
        "no such directory",
        routes(files="./dist"),
        3,
        ("the commit has no directory `dist`", "routes./a/.files", "image"),
    ),
    Case(
        "no such fallback",
        {"dist/x": "x", **routes(files="dist", **{"try": "index.html"})},
        3,
        ("has no file `index.html`", "routes./a/.try"),
    ),
    Case(
        "no such secret",
        routes(auth={"basic": "ADMINS"}),
        3,
        ("the secret ADMINS is not set", "routes./a/.auth.basic", "pushrod secret set ADMINS"),
    ),
    Case(
        "no domain",
        {"compose.yaml": apps.manifest() + "x-pushrod: {domains: ['https://shop.example.com/']}\n"},
        3,
        ("x-pushrod.domains",),
    ),
    Case(
        "no such snippet",
        {"compose.yaml": apps.manifest() + "x-pushrod: {nginx: no/*.conf}\n"},
        3,
        ("no/*.conf",),
    ),
    Case(
        "a snippet that reaches beyond the app",
        snippet("gzip on;\nlocation /etc/ {\n    alias /etc/;\n}\n"),
        3,
        ("`alias` is not allowed here", f"{OWN}:3", "pushrod apps allow shop nginx"),
    ),
    Case(
        "a snippet that nginx refuses",
        snippet("gzip on;\nlocation = /x {\n    return 200 a b;\n}\n"),
        9,
        ('invalid number of arguments in "return" directive', f"{OWN}:3: return 200 a b;", "fix that line"),
    ),
    Case(
        "an expression that nginx refuses",
        snippet('location ~ "^/(?<!a+)b" { break; }\n'),
        9,
        ("compile() failed", f"{OWN}:1"),
    ),
)


# Most are refused before anything has begun, so that one good push after several of them is enough.
THEN_A_GOOD_PUSH = (*BUILDS, *STARTS, MANIFESTS[-1], SECRETS[-1], GATE[-3], GATE[-1])


@pytest.mark.parametrize(
    "case", spread([*MANIFESTS, *IMAGES, *BUILDS, *STARTS, *SECRETS, *GATE], 11), ids=lambda c: c.name
)
def test_a_commit_that_cannot_be_deployed_is_refused(shop: App, case: Case) -> None:
    shop.tree.commit(case.files, case.name)
    error = shop.refuses(case.code, *case.words, then=case in THEN_A_GOOD_PUSH)
    assert "swordfish" not in str(error)


@pytest.mark.parametrize(
    ("begins", "ends", "what"),
    [
        ("20200101000000Z", "20210101000000Z", "the certificate expired on 2021-01-01"),
        ("20900101063000Z", "20910101000000Z", "the certificate is not valid before 2090-01-01 06:30 UTC"),
        ("20200101000000Z", "20900101000000Z", "the private key does not belong to the certificate"),
    ],
)
def test_an_unusable_certificate_is_refused(
    shop: App, tmp_path: Path, begins: str, ends: str, what: str
) -> None:
    pair = certificate(tmp_path, begins, ends, "-addext", "subjectAltName=DNS:shop.example")
    key = openssl.authority("other").key if "private key" in what else pair.key
    before, live = shop.footprint(), shop.live
    done = shop.pushrod("cert", "set", "--certificate", "-", stdin=pair.chain + key)
    assert apps.complaint(done).what == what
    assert done.status == 11
    assert key not in done.err
    shop.untouched(before, live)


def test_a_commit_without_a_compose_file_is_refused(shop: App) -> None:
    shop.tree.git("rm", "--quiet", "compose.yaml")
    shop.tree.commit({}, "no manifest")
    shop.refuses(3, "no compose file", "compose.yaml", "pushrod new")


def test_the_log_of_a_failed_program_is_shown(shop: App) -> None:
    shop.tree.commit({"app.py": DIES}, "dies")
    assert "  | no database" in shop.tree.push().err.splitlines()
    shop.tree.commit(
        {"app.py": apps.APP, **compose(**own(release="sh -c 'echo no such table; exit 3'"))}, "fails"
    )
    assert "  | no such table" in shop.tree.push().err.splitlines()
    failed = [r for r in shop.json("releases") if r["state"] == "failed"][:2]
    assert ["ended with status 3" in failed[0]["why"], "ended at boot" in failed[1]["why"]] == [True, True]


def test_a_failed_first_push_leaves_nothing_live(machine: Machine) -> None:
    app = machine.app("first", {**apps.FILES, "app.py": DIES}, push=False)
    before = app.footprint()
    pushed = app.tree.push()
    assert "ended at boot" in apps.complaint(pushed)
    assert {**app.footprint(), "files": []} == {**before, "files": [], "ports": app.footprint()["ports"]}
    assert app.live == 0
    assert app.branch() == ""
    assert app.groups() == set()
    assert app.json("status", "--app", "first")[0]["condition"] == "new"
    app.good = app.tree.head()
    app.push_change()
    app.settled()
    machine.must("apps", "destroy", "first", "--yes")


def test_a_bad_push_waits_for_a_running_one_and_fails_alone(shop: App) -> None:
    before = shop.live
    slow = "import time; time.sleep(1)\n"
    shop.tree.commit({"app.py": slow + apps.changed("slow")}, "slow but good")
    good = shop.tree.head()
    first = shop.tree.pushing()
    try:
        first.until(r"^  prepare ")
        shop.tree.commit({"app.py": DIES}, "dies")
        second = shop.tree.push()
        assert first.done().ok, first.lines
    finally:
        first.end()
    assert "waiting: another command is deploying" in second.err
    assert "ended at boot" in apps.complaint(second)
    assert shop.live > before
    assert shop.get() == (200, shop.live, "slow")
    assert shop.branch() == good
    shop.good = good


# ---- repositories and names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [("up",), ("deploy",), ("plan",), ("apps", "create", "new")], ids=" ".join)
def test_a_directory_outside_a_repository_is_refused(machine: Machine, verb: tuple[str, ...]) -> None:
    folder = machine.directory / "plain-folder"
    folder.mkdir(exist_ok=True)
    done = machine.pushrod(*verb, cwd=folder)
    assert done.status == 4
    error = apps.complaint(done)
    assert (error.what, error.where) == ("not a git repository", str(folder))
    assert "init" in error.to_do


def test_a_repository_without_a_commit_is_refused(machine: Machine) -> None:
    tree = machine.tree("empty", {})
    done = machine.pushrod("up", cwd=tree.path)
    assert done.status == 4
    error = apps.complaint(done)
    assert "no commit yet" in error.what
    assert "git commit" in error.to_do
    assert not (machine.root / "apps" / "empty").exists()


def test_a_missing_directory_and_an_unknown_commit_are_refused(shop: App, machine: Machine) -> None:
    done = machine.pushrod("up", "nowhere")
    assert (done.status, apps.complaint(done).what) == (4, "no such directory")
    done = shop.pushrod("deploy", "v99")
    assert done.status == 4
    assert "no commit `v99`" in apps.complaint(done)


@pytest.mark.parametrize("name", ["Shop", "1shop", "a_b", "a" * 32, "-x-", "shöp", "../x"])
def test_an_invalid_app_name_is_refused(machine: Machine, shop: App, name: str) -> None:
    before = shop.footprint()
    done = machine.pushrod("apps", "create", "--", name, cwd=machine.tree("another").path)
    assert done.status == 12
    error = apps.complaint(done)
    assert name in error.what
    assert "lower-case letters" in error.to_do
    assert shop.footprint() == before


def test_an_app_name_in_use_is_refused(machine: Machine, shop: App) -> None:
    before = shop.footprint()
    stranger = machine.tree("another")
    for verb in (("apps", "create", "shop"), ("up", "--app", "shop")):
        done = machine.pushrod(*verb, cwd=stranger.path)
        assert done.status == 12
        assert "the name `shop` is taken" in apps.complaint(done)
    assert stranger.git("remote") == ""
    assert shop.footprint() == before


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (("rollback", "9999"), "no release 9999"),
        (("scale", "wob=2"), "no service `wob`"),
        (("scale", "web=0"), "`web=0` is not SERVICE=N"),
        (("logs", "wob"), "no logs of `wob`"),
        (("exec", "wob", "--", "true"), "no service `wob`"),
        (("run", "--service", "wob", "true"), "no service `wob`"),
        (("secret", "unset", "NOTHING"), "no secret `NOTHING`"),
        (("secret", "set", "NO NAME"), "`NO NAME` cannot be"),
        (("status", "--app", "shup"), "no app `shup`"),
        (("apps", "destroy", "shup", "--yes"), "no app `shup`"),
        (("deploy", "--app", "shup"), "no app `shup`"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_an_unknown_name_is_refused(shop: App, verb: tuple[str, ...], words: str) -> None:
    before, release = shop.footprint(), shop.live
    done = shop.pushrod(*verb, stdin="swordfish")
    assert done.status == 12, done.err
    assert words in apps.complaint(done).what
    shop.untouched(before, release)


@pytest.mark.parametrize(
    "verb", [("frobnicate",), ("status", "--wrong"), ("up", "--port", "99999"), ("scale",)]
)
def test_a_wrong_call_prints_the_usage(machine: Machine, verb: tuple[str, ...]) -> None:
    done = machine.pushrod(*verb)
    assert done.status == 2
    assert "Usage" in done.err
    assert "Traceback" not in done.err


def test_rollback_and_restart_without_a_release_are_refused(machine: Machine) -> None:
    app = machine.app("young", push=False)
    for verb in ("rollback", "restart"):
        done = app.pushrod(verb)
        assert done.status == 12
        apps.complaint(done)
    machine.must("apps", "destroy", "young", "--yes")


# ---- ports ------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Another program that listens; the test chooses where."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield s


def test_a_requested_port_in_use_is_refused(machine: Machine, shop: App, listener: socket.socket) -> None:
    before, release = shop.footprint(), shop.live
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    port = str(listener.getsockname()[1])
    tree = machine.tree("another")
    for verb in (("apps", "create", "another", "--port", port), ("up", "--port", port)):
        done = machine.pushrod(*verb, cwd=tree.path)
        assert done.status == 10
        error = apps.complaint(done)
        assert f"port {port}" in error.what
        assert f"(process {os.getpid()})" in error.what
        assert "--port" in error.to_do
    done = machine.pushrod("up", "--port", str(shop.settings["port"]), cwd=tree.path)
    assert done.status == 10
    assert "belongs to another app" in apps.complaint(done).what
    shop.untouched(before, release)


def test_the_apps_port_in_use_is_refused_before_a_build(machine: Machine, listener: socket.socket) -> None:
    """The build would fail: there is no such package."""
    files = {**apps.FILES, "requirements.txt": "no-such-package-of-anybody==1\n"}
    app = machine.app("squatted", files, push=False)
    port = app.settings["port"]
    listener.bind(("127.0.0.1", port))
    listener.listen()
    for done in (app.pushrod("plan"), app.tree.push()):
        error = apps.complaint(done)
        assert error.what.startswith(f"port {port} of the app is taken by ")
        assert f"(process {os.getpid()})" in error.what
        assert "pushrod up --port" in error.to_do
    listener.close()
    assert "no-such-package-of-anybody" in app.tree.push().err
    machine.must("apps", "destroy", "squatted", "--yes")


def test_a_stores_port_in_use_is_refused_before_a_build(machine: Machine, listener: socket.socket) -> None:
    manifest = apps.manifest({"redis": {"image": "valkey/valkey:9"}})
    app = machine.app("kept-out", {**apps.FILES, "compose.yaml": manifest})
    (record,) = json.loads((app.directory / "stores" / "stores.json").read_text())
    app.must("down")
    listener.bind((record["address"], record["port"]))
    listener.listen()
    app.tree.commit({"requirements.txt": "no-such-package-of-anybody==1\n"}, "cannot be built")
    error = apps.complaint(app.tree.push())
    assert f"port {record['port']} of the store redis is taken by " in error.what
    assert f"(process {os.getpid()})" in error.what
    listener.close()
    app.tree.git("rm", "--quiet", "requirements.txt")
    app.tree.commit({"app.py": apps.changed("again")}, "can be built")
    done = app.tree.push()
    assert done.ok, done.err
    assert app.get().body == "again"
    machine.must("apps", "destroy", "kept-out", "--yes")


def test_an_instance_port_in_use_fails_a_rollback(shop: App, listener: socket.socket) -> None:
    shop.push_change()
    before, release = shop.footprint(), shop.live
    older = shop.kept()[-2]
    instance = shop.release(older)["instances"][0]
    listener.bind((instance["address"], instance["port"]))
    listener.listen()
    done = shop.pushrod("rollback")
    assert done.status == 10
    error = apps.complaint(done)
    assert f"web-1 of release {older} is taken" in error.what
    assert f"(process {os.getpid()})" in error.what
    files = shop.footprint()
    shop.untouched(before, release)
    assert files == before
    listener.close()
    shop.must("rollback")
    assert shop.live == older
    shop.must("deploy")


def test_an_edge_port_in_use_fails_up(machine: Machine, listener: socket.socket) -> None:
    app = machine.app("away")
    app.must("down")
    listener.bind(("127.0.0.1", app.settings["port"]))
    listener.listen()
    done = app.pushrod("up")
    assert done.status in (9, 10), done.err
    error = apps.complaint(done)
    assert str(app.settings["port"]) in error
    assert app.json("status", "--app", "away")[0]["condition"] == "down"
    assert app.groups() == set()
    listener.close()
    app.must("up")
    app.settled()
    machine.must("apps", "destroy", "away", "--yes")


# ---- state that is damaged --------------------------------------------------------------------------------------


def broken_state(shop: App, path: Path) -> apps.Complaint:
    """Push and deploy name the unreadable file, and the live release keeps serving."""
    release = shop.live
    shop.tree.commit({"app.py": apps.changed("new")}, "new")
    pushed = shop.tree.push()
    assert pushed.status == 1
    assert apps.complaint(pushed).where == str(path)
    done = shop.pushrod("deploy")
    assert done.status == 11
    error = apps.complaint(done)
    assert error.where == str(path)
    assert shop.serves(release)
    assert shop.groups() == {release}
    doctor = shop.pushrod("doctor")
    assert doctor.status == 10
    assert str(path) in doctor.out
    assert "Traceback" not in doctor.err
    return error


def test_a_damaged_line_of_the_journal_is_reported_and_repaired(shop: App) -> None:
    path = shop.directory / "journal"
    lines = path.read_text().splitlines(keepends=True)
    lines[len(lines) // 2] = '{"at": "yesterday", "eve\n'
    path.write_text("".join(lines))
    damaged = path.read_bytes()
    release = shop.live
    error = broken_state(shop, path)
    assert f"line {len(lines) // 2 + 1} cannot be read" in error.what
    assert "pushrod doctor --repair" in error.to_do
    assert path.read_bytes() == damaged, "nothing is changed"
    assert path.with_name("journal.corrupt").read_bytes() == damaged, "and a copy is kept"

    assert f"live is release {release}" in shop.must("doctor", "--repair")
    assert any(p.read_bytes() == damaged for p in shop.directory.glob("journal.2*")), "the old one is kept"
    assert shop.pushrod("doctor").status == 0
    shop.push_change()
    assert shop.live > release
    for left in shop.directory.glob("journal.*"):
        left.unlink()


def test_a_torn_last_line_of_the_journal_is_ignored(shop: App) -> None:
    path = shop.directory / "journal"
    with path.open("a") as f:
        f.write('{"at": "2026-01-01T00:00:00.000+00:00", "event": "pro')
    release = shop.live
    assert shop.json("status", "--app", "shop")[0]["release"] == release
    shop.push_change()
    assert shop.live > release
    assert len(shop.journal()) == len(path.read_text().splitlines())


@pytest.mark.parametrize("which", [-1, -2], ids=["live", "older"])
@pytest.mark.parametrize("verb", ["push", "deploy", "restart"])
def test_a_damaged_release_is_restored_from_the_state_repository(shop: App, which: int, verb: str) -> None:
    shop.push_change()
    path = shop.state / "releases" / str(shop.kept()[which]) / "release.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    doctor = shop.pushrod("doctor")
    assert doctor.status == 10
    assert str(path) in doctor.out
    live = shop.live
    shop.tree.commit({"app.py": apps.changed(f"{verb} {which}")}, verb)
    done = shop.tree.push() if verb == "push" else shop.pushrod(verb)
    assert done.ok, done.err
    assert f"{path.relative_to(shop.state)} has its sealed content again" in done.err
    assert path.read_bytes() == whole
    assert shop.live > live
    assert shop.serves(shop.live)
    shop.good = shop.branch()
    shop.restore()


def test_a_missing_live_release_is_reported_with_a_remedy(shop: App) -> None:
    release = shop.live
    directory = shop.state / "releases" / str(release)
    shutil.rmtree(directory)
    done = shop.pushrod("deploy")
    assert done.status == 11
    error = apps.complaint(done)
    assert f"release {release} is live, but it is not in the state repository" in error.what
    assert shop.get().release == release
    restored = subprocess.run(
        shlex.split(error.to_do.partition("history: ")[2]), check=False, capture_output=True
    )
    assert restored.returncode == 0, (error.to_do, restored.stderr)
    shop.push_change()


@pytest.mark.parametrize("file", ["app.json", "secrets/variables.json"])
def test_another_damaged_state_file_is_reported(shop: App, file: str) -> None:
    shop.must("secret", "set", "KEPT", stdin="swordfish")
    shop.push_change()
    path = shop.directory / file
    whole, release = path.read_bytes(), shop.live
    path.write_bytes(b"{")
    try:
        done = shop.pushrod("deploy")
        assert done.status == 11, done.err
        error = apps.complaint(done)
        assert error.where == str(path)
        assert "swordfish" not in done.err
    finally:
        path.write_bytes(whole)
        path.with_name(f"{path.name}.corrupt").unlink(missing_ok=True)
    assert shop.serves(release)
    shop.must("secret", "unset", "KEPT")
    shop.push_change()


# ---- a full disk ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(new_machine: Callable[[], Machine]) -> Iterator[App]:
    """An app whose root is on its own small disk."""
    with on_small_disk(new_machine()) as machine:
        app = machine.app("full")
        app.push_change()
        yield app


def still_serves(app: App, release: int) -> None:
    assert app.live == release
    assert app.serves(release)


@pytest.mark.parametrize(
    ("leaving", "files"),
    [
        (0, {}),
        (65536, {"noise": os.urandom(200_000)}),
        (1_000_000, {"zeros": ZEROS}),
    ],
    ids=["for anything", "for what is pushed", "for the checkout"],
)
def test_a_full_disk_refuses_a_deployment_and_the_app_serves(
    full: App, leaving: int, files: dict[str, bytes]
) -> None:
    release = full.live
    full.tree.commit(files, "too large")
    free = fill(full.machine, leaving=leaving)
    try:
        pushed = full.tree.push()
        assert pushed.status == 1
        assert "Traceback" not in pushed.err
        assert re.search(r"no space left on device|\d+ MiB are free", pushed.err, re.IGNORECASE)
        still_serves(full, release)
        done = full.pushrod("deploy")
        assert done.status == 10, done.err
        assert re.search(r"no space left on device|\d+ MiB are free", apps.complaint(done).what)
        still_serves(full, release)
        assert full.json("status", "--app", "full")[0]["condition"] == "live"
    finally:
        free()
    full.push_change()
    full.settled()


def test_a_full_disk_during_an_installation_refuses_the_deployment(full: App) -> None:
    release = full.live
    large = apps.wheel("large", {"large/__init__.py": "", "large/zeros": 3 * ZEROS})  # 90 MB
    full.tree.commit(
        {"large-1.0-py3-none-any.whl": large, "requirements.txt": "./large-1.0-py3-none-any.whl\n"}
    )
    environments = sorted((full.machine.root / "environments").iterdir())
    free = fill(full.machine, leaving=70_000_000)
    try:
        done = full.pushrod("deploy")
        assert done.status in (5, 10), done.err
        assert "no space left on device" in done.err.lower()
        assert "Traceback" not in done.err
        apps.complaint(done)
        still_serves(full, release)
    finally:
        free()
    left = {p for p in (full.machine.root / "environments").iterdir() if p.is_dir()} - set(environments)
    assert not left
    full.push_change()
    full.settled()


FILLING = """\
import errno, os, sys
def fill():
    with open(os.path.join(os.environ["HOME"], "filler"), "wb", buffering=0) as f:
        try:
            while f.write(bytes(65536)):
                pass
        except OSError:
            pass
"""


@pytest.mark.parametrize("who", ["the release command", "an instance"])
def test_an_app_that_fills_the_disk_fails_its_deployment(full: App, who: str) -> None:
    release = full.live
    filler = full.directory / "home" / "filler"
    if who == "an instance":
        files = {"app.py": FILLING + "fill()\n" + apps.changed("greedy")}
    else:
        files = {"fill.py": FILLING + "fill()\n", **compose(**own(release="python fill.py"))}
    full.tree.commit(files, f"{who} fills the disk")
    try:
        done = full.pushrod("deploy")
        assert not done.ok, done.out
        assert done.status in (6, 9, 10), done.err
        assert "Traceback" not in done.err
        apps.complaint(done)
        still_serves(full, release)
    finally:
        filler.unlink(missing_ok=True)
    full.push_change()
    full.settled()


def test_json_output_stays_valid_with_damaged_state(shop: App) -> None:
    path = shop.directory / "journal"
    whole = path.read_bytes()
    path.write_bytes(b"nonsense\n" + whole)
    try:
        done = shop.pushrod("doctor", "--json")
        assert done.status == 10
        broken = [f for f in json.loads(done.out) if f["state"] == "broken"]
        assert [f["what"] for f in broken] == ["app shop"]
        done = shop.pushrod("status", "--json")
        assert done.status == 11
        assert json.loads(done.out or "[]") == []
        assert apps.complaint(done).where == str(path)
    finally:
        path.write_bytes(whole)
        path.with_name("journal.corrupt").unlink(missing_ok=True)

"""From a commit to a live release and back, by `git push` and the related verbs."""

import contextlib
import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devtools import apps
from devtools.apps import App, Machine
from devtools.load import Load

pytestmark = pytest.mark.integration

RATE = 50.0  # requests a second while something changes


@pytest.fixture(scope="module")
def plain(machine: Machine) -> App:
    """An app without stores."""
    return machine.app("plain")


@pytest.fixture(scope="module")
def stock(machine: Machine) -> App:
    """An app with PostgreSQL and Redis, whose release command migrates the schema to `schema.sql`."""
    migrate = '"$$PSQL" -X -q -v ON_ERROR_STOP=1 -d "$$DATABASE_URL" -f schema.sql'
    compose = apps.manifest_with_stores(**{"x-pushrod": {**HEALTH, "release": f"sh -c '{migrate}'"}})
    return machine.app("stock", {"app.py": apps.APP, "compose.yaml": compose, "schema.sql": SCHEMA})


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the app that it used is live and consistent."""
    yield
    for name in {"plain", "stock"} & set(request.fixturenames):
        app: App = request.getfixturevalue(name)
        app.restore()
        app.settled()


HEALTH = {"health": {"path": "/healthz", "deadline": "15s"}}
SCHEMA = "create table if not exists things (id int primary key, name text);\n"


@contextlib.contextmanager
def load(app: App) -> Iterator[None]:
    """Send requests at a constant rate during the block; none may fail, on whatever connection.

    Some take 0.4 s, so that at any moment there are requests that a switch could cut off.
    """
    shapes = {"keep": 2, "close": 2, "slow": 1}
    with Load(f"{app.url}/", rate=RATE, shapes=shapes, slow_url=f"{app.url}/slow") as running:
        yield
    total = running.report.total
    assert total.sent > 0
    assert total.failed == 0, running.report.table()


def instances(app: App) -> int:
    """How many instances of the live release `status` shows."""
    processes = app.json("status", "--app", app.name)[0]["processes"]
    return len([p for p in processes if p["group"] == f"{app.name}-r{app.live}"])


def pid(app: App) -> int:
    """The process that answers."""
    number: int = json.loads(app.get("/process").body)["pid"]
    return number


def sql(app: App, statement: str) -> apps.Answer:
    """PostgreSQL's answer to the app's own role."""
    return app.get("/sql?q=" + statement.replace(" ", "+").replace(",", "%2C"))


# ---- a push ---------------------------------------------------------------------------------------------------


IN_A_THREAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pushrod.state.apps import Root
from pushrod.cli.output import Steps
from pushrod.engines import registry
from pushrod.releases.pipeline import Pipeline
app = Root(Path(sys.argv[1])).app(sys.argv[2])
line = Pipeline(app, registry.of(app.root), Steps())
with ThreadPoolExecutor() as pool:
    print(pool.submit(line.renew).result(timeout=100).number)
"""


def test_the_first_push_makes_the_commit_live(plain: App) -> None:
    version = plain.push_change()
    number = plain.live
    answer = plain.get()
    assert (answer.status, answer.release, answer.body) == (200, number, version)
    assert plain.branch() == plain.tree.head()
    assert plain.release(number)["commit"] == plain.tree.head()
    assert plain.tags()[f"release/{number}"] == plain.tree.head()
    message = plain.tree.git("-C", str(plain.state), "log", "-1", "--format=%B")
    assert message.startswith(f"plain: release {number} is live")
    assert f"commit: {plain.tree.head()}" in message


def test_a_deployment_works_in_any_thread_of_a_server(plain: App) -> None:
    before = plain.live
    argv = [sys.executable, "-c", IN_A_THREAD, str(plain.machine.root), plain.name]
    done = apps.run(argv, plain.tree.path, plain.machine.env)
    assert (done.status, done.out.strip()) == (0, str(before + 1)), done.err
    assert plain.get().release == plain.live == before + 1


def test_no_request_fails_while_a_push_goes_live(plain: App) -> None:
    before = plain.live
    with load(plain):
        plain.push_change()
    assert plain.live > before


def test_no_request_fails_while_an_app_is_scaled_restarted_and_rolled_back(plain: App) -> None:
    plain.push_change()
    with load(plain):
        assert "web: 3" in plain.must("scale", "web=3")
        three = plain.live
        assert instances(plain) == 3
        pids = set()

        def shared() -> bool:
            pids.add(pid(plain))
            return len(pids) == 3

        # Not after a fixed number of requests: an instance with one slow request fewer than the others gets all new
        # ones.
        apps.eventually(shared, "three instances share the requests")
        plain.must("restart")
        assert plain.live == three + 1
        assert not pids & {pid(plain) for _ in range(20)}
        plain.must("scale", "web=1")
        assert instances(plain) == 1
        plain.must("rollback")
        assert plain.live == three + 1
    assert instances(plain) == 3, "the release of then had three"
    plain.must("scale", "web=1")


def test_a_push_of_the_live_commit_changes_nothing(plain: App) -> None:
    plain.push_change()
    number = plain.live
    assert "already live" in plain.must("deploy")
    done = plain.tree.push()
    assert done.ok
    assert "Everything up-to-date" in done.err
    assert plain.live == number


def test_a_push_after_a_rollback_goes_live(plain: App) -> None:
    first, second = plain.push_change(), plain.push_change()
    newest = plain.live
    older = plain.tree.git("rev-parse", "HEAD~1")
    assert f"release {newest - 1}" in plain.must("rollback")
    assert plain.get() == (200, newest - 1, first)
    assert plain.branch() == older

    rejected = plain.tree.push()
    assert rejected.ok, f"HEAD builds on what is live, so it may be pushed again: {rejected.err}"
    assert plain.get() == (200, newest + 1, second)
    third = plain.push_change()
    assert plain.get() == (200, newest + 2, third)


def test_a_rollback_to_a_given_release_works(plain: App) -> None:
    version = plain.push_change()
    first = plain.live
    plain.push_change()
    plain.push_change()
    plain.must("rollback", str(first))
    assert plain.get() == (200, first, version)
    assert plain.pushrod("rollback", str(first)).status == 12
    plain.must("deploy")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pushrod", "HEAD:refs/heads/feature"), "only `main` is deployed, not refs/heads/feature"),
        (("pushrod", "v1"), "only `main` is deployed, not refs/tags/v1"),
        (("pushrod", "HEAD:main", "HEAD:refs/heads/other"), "only `main` is deployed, not refs/heads/other"),
        (("pushrod", ":main"), "`main` cannot be deleted"),
    ],
    ids=["another branch", "a tag", "two branches", "deleting"],
)
def test_only_the_deployed_branch_can_be_pushed(plain: App, arguments: tuple[str, ...], words: str) -> None:
    before, release = plain.footprint(), plain.live
    plain.tree.commit({}, "not to go anywhere")
    plain.tree.git("tag", "--force", "v1")
    done = plain.tree.push(*arguments)
    assert done.status == 1
    assert words in done.err
    assert "Traceback" not in done.err
    plain.untouched(before, release)


# ---- two at once ----------------------------------------------------------------------------------------------


SLOW_START = "import time; time.sleep(1.5)\n"


def test_a_second_push_waits_for_the_first_and_both_go_live(plain: App) -> None:
    plain.push_change()
    before = plain.live
    plain.tree.commit({"app.py": SLOW_START + apps.changed("A")}, "A")
    first = plain.tree.pushing()
    try:
        first.until(r"^  prepare ")
        plain.tree.commit({"app.py": apps.changed("B")}, "B")
        second = plain.tree.push()
        assert first.done().ok, first.lines
    finally:
        first.end()
    assert second.ok, second.err
    assert "waiting: another command is deploying" in second.err
    assert plain.live > before
    assert plain.get() == (200, plain.live, "B")
    plain.good = plain.tree.head()
    assert plain.branch() == plain.good
    assert set(plain.tags()) >= {f"release/{plain.live - 1}", f"release/{plain.live}"}


def test_a_push_of_a_sibling_commit_is_refused_after_it_waited(plain: App, tmp_path: Path) -> None:
    plain.push_change()
    before = plain.live
    other = plain.tree.clone(tmp_path / "elsewhere")
    plain.tree.commit({"app.py": SLOW_START + apps.changed("A")}, "A")
    other.commit({"app.py": apps.changed("B")}, "B")
    first = plain.tree.pushing()
    try:
        first.until(r"^  prepare ")
        second = other.push()
        assert first.done().ok, first.lines
    finally:
        first.end()
    assert second.status == 1
    reported = apps.complaint(second)
    assert "went live while this push waited" in reported.what
    assert "git fetch pushrod" in reported.to_do
    assert plain.get() == (200, plain.live, "A")
    assert plain.live > before
    plain.good = plain.tree.head()

    other.git("fetch", "--quiet", "pushrod")
    other.git("reset", "--quiet", "--hard", "pushrod/main")
    other.commit({"app.py": apps.changed("B on A")}, "B on A")
    assert other.push().ok
    plain.tree.git("fetch", "--quiet", "pushrod")
    plain.good = plain.branch()
    assert plain.get() == (200, plain.live, "B on A")


def test_two_apps_run_next_to_each_other(plain: App, machine: Machine) -> None:
    other = machine.app("other")
    version = plain.push_change()
    assert plain.get().body == version
    assert other.get() == (200, 1, "one")
    assert plain.settings["port"] != other.settings["port"]
    both = {a["app"]: a for a in machine.json("apps", "list")}
    assert both["plain"]["condition"] == both["other"]["condition"] == "live"
    other.must("down")
    assert plain.get().body == version
    machine.must("apps", "destroy", "other", "--yes")
    assert plain.get().body == version
    assert other.tree.git("remote") == ""


def test_a_name_used_by_another_directory_is_refused(plain: App, machine: Machine) -> None:
    stranger = machine.tree("elsewhere/plain")
    before, release = plain.footprint(), plain.live
    done = machine.pushrod("up", cwd=stranger.path)
    assert done.status == 12
    reported = apps.complaint(done)
    assert "the name `plain` is taken" in reported.what
    assert str(plain.tree.path) in reported.what
    assert "--app" in reported.to_do
    plain.untouched(before, release)
    assert stranger.git("remote") == ""


# ---- reading --------------------------------------------------------------------------------------------------


def test_plan_reports_changes_and_makes_none(plain: App) -> None:
    plain.push_change()
    before, release = plain.footprint(), plain.live
    plain.tree.commit({"compose.yaml": apps.manifest({"worker": WORKER})}, "a worker")
    output = plain.must("plan")
    assert "worker" in output
    reported = plain.json("plan")
    assert reported["commit"] == plain.tree.head()
    assert ("worker", "new") in {(c["name"], c["action"]) for c in reported["changes"]}
    plain.untouched(before, release)


WORKER = {"build": ".", "command": "python -c 'import time; time.sleep(1000)'"}


@pytest.mark.parametrize(
    "verb",
    [
        ("status",),
        ("releases",),
        ("plan",),
        ("apps", "list"),
        ("secret", "list"),
        ("doctor",),
    ],
    ids=" ".join,
)
def test_every_verb_that_reads_prints_json(plain: App, verb: tuple[str, ...]) -> None:
    before, release = plain.footprint(), plain.live
    result = plain.json(*verb)
    assert isinstance(result, dict if verb == ("plan",) else list)
    plain.untouched(before, release)


def test_logs_print_one_json_object_per_line(plain: App) -> None:
    plain.get("/print?q=hello-log")
    log = plain.directory / "logs" / f"r{plain.live}" / "web-1.log"
    apps.eventually(lambda: "hello-log" in log.read_text(), "the line is in the log")
    lines = plain.must("logs", "web", "--json").splitlines()
    assert {"process": "web-1", "line": "hello-log"} in [json.loads(line) for line in lines]


# ---- secrets and variables ------------------------------------------------------------------------------------


def everything_in_git(app: App) -> str:
    """Everything in the state repository's and the app's repository's history, except the app's own tree."""
    output = app.tree.git("-C", str(app.state), "log", "--all", "--patch")
    return output + app.tree.git("-C", str(app.repository), "log", "--all", "--patch")


def command_lines() -> str:
    """Every command line of the machine, as `ps` shows it."""
    return "\n".join(" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))


def test_a_secret_reaches_the_app_and_nothing_else(plain: App, machine: Machine) -> None:
    value = f"swordfish-{random.randrange(10**12)}"
    plain.must("secret", "set", "API_KEY", stdin=f"{value}\n")
    assert plain.must("secret", "list").split() == ["API_KEY"]
    output = plain.pushrod("deploy")
    assert output.ok, output.err
    environment = json.loads(plain.get("/environment").body)
    assert environment["API_KEY"] == value

    plain.get(f"/print?q={value}")
    log = plain.directory / "logs" / f"r{plain.live}" / "web-1.log"
    apps.eventually(lambda: value in log.read_text(), "what the app itself prints is in its own log")
    assert value not in plain.must("logs")
    assert "***" in plain.must("logs")
    shown = output.out + output.err + plain.must("status", "--json") + plain.must("releases")
    assert value not in shown
    assert value not in everything_in_git(plain)
    assert value not in (plain.directory / "journal").read_text()
    assert value not in command_lines()
    for path in (machine.root / "supervisor").rglob("*"):
        if path.is_file() and value in path.read_text(errors="replace"):
            assert "specs" in path.parts, path
            assert path.stat().st_mode & 0o077 == 0, path
    for path in (plain.directory / "secrets").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path

    plain.must("secret", "unset", "API_KEY")
    plain.must("deploy")
    assert "API_KEY" not in json.loads(plain.get("/environment").body)


def test_a_failing_release_command_does_not_show_a_secret(plain: App) -> None:
    value = f"swordfish-{random.randrange(10**12)}"
    plain.must("secret", "set", "API_KEY", stdin=value)
    release = {**HEALTH, "release": "sh -c 'echo the key is $$API_KEY; exit 3'"}
    plain.tree.commit({"compose.yaml": apps.manifest(**{"x-pushrod": release})}, "leak it")
    done = plain.tree.push()
    assert done.status == 1
    assert "the key is ***" in done.err
    assert value not in done.err
    assert value not in (plain.directory / "journal").read_text()
    assert value not in json.dumps(plain.json("releases"))
    plain.must("secret", "unset", "API_KEY")


def test_variables_have_the_documented_precedence(plain: App) -> None:
    plain.must("secret", "import", str(_dotenv(plain)))
    dockerfile = "FROM python:3.11\nENV FROM_IMAGE=image SHADOWED=image OWN=image\nCMD python app.py\n"
    environment = {"OWN": "manifest", "PASSED": None, "PUSHROD_RELEASE": "nonsense"}
    compose = apps.manifest(environment=environment, command=None)
    plain.push_change({"Dockerfile": dockerfile, "compose.yaml": compose})
    seen = json.loads(plain.get("/environment").body)
    assert seen["FROM_IMAGE"] == "image"
    assert seen["SHADOWED"] == "secret"
    assert seen["PASSED"] == "secret"
    assert seen["OWN"] == "manifest"
    assert seen["PUSHROD_APP"] == "plain"
    assert seen["PUSHROD_RELEASE"] == str(plain.live)
    assert seen["PUSHROD_COMMIT"] == plain.good
    assert "PUSHROD_ROOT" not in seen, "the environment of whoever pushed is not the app's"
    plain.must("secret", "unset", "SHADOWED", "PASSED", "OWN")
    plain.tree.git("rm", "--quiet", "Dockerfile")
    plain.tree.commit({"compose.yaml": apps.manifest()}, "as it was")
    plain.must("deploy")
    plain.good = plain.tree.head()


def _dotenv(app: App) -> Path:
    path = app.machine.directory / "dotenv"
    path.write_text("# values\nexport SHADOWED='secret'\nPASSED=secret # really\nOWN=secret\n")
    return path


# ---- stores ---------------------------------------------------------------------------------------------------


def test_the_urls_of_the_stores_work(stock: App) -> None:
    assert sql(stock, "insert into things values (1,'screw') on conflict do nothing").status == 200
    assert sql(stock, "select name from things where id=1").body == "screw"
    assert "+OK +PONG +OK" in stock.get("/redis?q=PING").body


def test_the_app_may_not_change_the_schema(stock: App) -> None:
    for statement in ("drop table things", "create table other (id int)", "alter table things add x int"):
        answer = sql(stock, statement)
        assert answer.status == 409, answer
        assert "permission denied" in answer.body or "must be owner" in answer.body
    assert sql(stock, "select count(*) from things").status == 200


def test_no_password_is_in_git_or_in_a_command_line(stock: App, machine: Machine) -> None:
    passwords = json.loads((stock.directory / "secrets" / "passwords.json").read_text())
    assert passwords
    output, running = everything_in_git(stock), command_lines()
    for name, password in passwords.items():
        assert password not in output, name
        assert password not in running, name
        assert password not in "".join(
            p.read_text() for p in (machine.root / "supervisor" / "conf.d").iterdir()
        )


def test_down_and_up_keep_the_data(stock: App, machine: Machine) -> None:
    sql(stock, "insert into things values (2,'nut') on conflict do nothing")
    assert "+OK" in stock.get("/redis?q=SET+kept+yes").body
    release = stock.live
    stock.must("down")
    assert not [p for p in machine.processes() if "postgres" in p.name() or "valkey" in p.name()]
    with pytest.raises(OSError):
        stock.get()
    assert stock.json("status", "--app", "stock")[0]["condition"] == "down"
    assert str(stock.live) == str(release)
    assert stock.url in stock.must("up")
    assert stock.live == release, "the same release, not a new one"
    assert sql(stock, "select name from things where id=2").body == "nut"
    assert "yes" in stock.get("/redis?q=GET+kept").body


def test_a_rollback_across_a_migration_requires_an_option(stock: App) -> None:
    older = stock.push_change()
    first = stock.live
    column = f"c{random.randrange(10**6)}"
    stock.push_change({"schema.sql": SCHEMA + f"alter table things add column {column} int;\n"})
    migrated = stock.live
    refused = stock.pushrod("rollback")
    assert refused.status == 12
    reported = apps.complaint(refused)
    assert f"release {migrated} changed the database's schema after release {first}" in reported.what
    assert "--across-migrations" in reported.to_do
    assert stock.live == migrated
    stock.must("rollback", "--across-migrations")
    assert stock.get() == (200, first, older)
    kept = sql(stock, f"select count({column}) from things")  # noqa: S608  our own word
    assert kept.status == 200, "the schema stays as it is"
    stock.restore()
    stock.tree.commit({"schema.sql": SCHEMA}, "the schema as it was")
    stock.good = stock.tree.head()
    assert stock.tree.push().ok
    assert stock.live > migrated
    unmigrated = stock.live
    stock.push_change()
    stock.must("rollback")
    assert stock.live == unmigrated, "a release command that changed nothing is no migration"


def test_no_request_fails_while_an_app_with_stores_is_pushed(stock: App) -> None:
    with load(stock):
        stock.push_change()


# ---- up -------------------------------------------------------------------------------------------------------


def test_up_makes_the_app_the_remote_and_the_release(new_machine: Callable[[], Machine]) -> None:
    machine = new_machine()
    tree = machine.tree("The Shop 1")
    port = apps.edge_port()
    output = machine.must("up", "--port", str(port), cwd=tree.path)
    assert output.strip().endswith(f"http://127.0.0.1:{port}")
    app = App(machine, "the-shop-1", tree)
    app.good = tree.head()
    assert app.get() == (200, 1, "one")
    assert tree.git("remote", "get-url", "pushrod") == str(app.repository)
    assert "already live" in machine.must("up", cwd=tree.path)
    app.settled()
    app.push_change()
    assert app.live == 2
    machine.must("down", str(tree.path))
    assert machine.processes() == [], "nothing of the engine stays when no app is up"
    assert machine.json("apps", "list")[0]["condition"] == "down"
    machine.must("up", str(tree.path))
    assert app.live == 2
    app.settled()

"""The command line: help, roots, exit statuses, a user's own programs, logs, the doctor."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from devtools import apps
from devtools.apps import App, Machine, eventually
from pushrod.adapters.binaries import Parts
from pushrod.cli import cli
from pushrod.core import errors
from pushrod.system import locks

pytestmark = pytest.mark.integration


def test_python_seldom_searches_for_garbage_and_not_at_the_end() -> None:
    """Both are a large part of the time of a short command, most of whose objects are its modules."""
    code = """if True:
        import atexit, gc, sys
        atexit.register(lambda: print(gc.get_threshold()[0] >= 10_000, gc.get_freeze_count() >= 10_000))
        sys.argv = ["pushrod", "--version"]
        from pushrod.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["True", "True"]


def named(command: click.Command) -> list[str]:
    """What the help of a command has to name: its verbs, or its options and arguments."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        return [n for n in command.list_commands(context) if not command.get_command(context, n).hidden]  # type: ignore[union-attr]
    options = [max(p.opts, key=len) for p in command.params if isinstance(p, click.Option)]
    return options + [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]


def commands(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for name in named(group):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield (*above, name), named(command)
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


VERBS = dict(commands(cli))
"""Every verb, with what its help has to name."""


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    """The app for these tests."""
    return machine.app("shop")


# ---- help -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_fits_a_screen_and_names_every_option(verb: tuple[str, ...]) -> None:
    text = CliRunner().invoke(cli, [*verb, "--help"]).output
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 100
    for word in (*VERBS[verb], "-h, --help"):
        assert word in text, f"{word} is not in:\n{text}"
    assert CliRunner().invoke(cli, [*verb, "-h"]).output == text


def test_the_first_help_lists_every_verb_and_the_exit_codes(machine: Machine) -> None:
    text = machine.must("--help")
    listed = re.findall(r"^  (\w+)  +\S", text.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(dict.fromkeys(verb[0] for verb in VERBS))
    assert len(text.splitlines()) <= 43
    assert max(map(len, text.splitlines())) <= 100
    assert "hook" not in text
    assert "Exit codes" in text
    assert machine.must("--version").startswith("pushrod ")


def test_the_exit_codes_match_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    documented = dict(re.findall(r"^\| (\d+) \| ([a-z-]+) \|", text, re.MULTILINE))
    failures = errors.PushrodError.__subclasses__()
    every: list[type[errors.Ending]] = [errors.PushrodError, errors.Interrupted, *failures]
    kinds = {str(e.exit_code): e.kind for e in every}
    assert documented == kinds


# ---- the root ---------------------------------------------------------------------------------------------------


def test_the_root_is_found_by_option_variable_or_remote(machine: Machine, shop: App) -> None:
    env = {k: v for k, v in machine.env.items() if k != "PUSHROD_ROOT"}
    env["HOME"] = str(machine.directory / "home")
    env.pop("XDG_DATA_HOME", None)
    root = str(machine.root)

    def apps_seen(cwd: Path, *argv: str, **more: str) -> list[str]:
        done = apps.run([*apps.PUSHROD, *argv, "--json"], cwd, {**env, **more})
        assert done.ok, done.err
        return [a["app"] for a in json.loads(done.out)]

    outside = machine.directory
    assert apps_seen(outside, "apps", "list") == []
    assert apps_seen(outside, "--root", root, "apps", "list") == ["shop"]
    assert apps_seen(outside, "apps", "list", "--root", root) == ["shop"]
    assert apps_seen(outside, "apps", "list", PUSHROD_ROOT=root) == ["shop"]
    assert apps_seen(shop.tree.path, "status") == ["shop"]
    assert apps_seen(shop.tree.path, "status", PUSHROD_ROOT=str(machine.directory / "other")) == []
    assert apps_seen(shop.tree.path, "status", "--root", root, PUSHROD_ROOT="/nowhere") == ["shop"]


def test_an_invalid_root_is_refused(machine: Machine, shop: App) -> None:
    file = machine.directory / "a-file"
    file.write_text("")
    done = machine.pushrod("up", "--root", str(file), cwd=machine.tree("other").path)
    assert done.status == 10
    reported = apps.complaint(done)
    assert str(file) in reported


def test_one_of_two_apps_must_be_named(machine: Machine, shop: App) -> None:
    other = machine.app("zebra", push=False)
    done = machine.pushrod("logs")
    assert done.status == 12
    assert "apps: shop, zebra" in apps.complaint(done).to_do
    assert [s["app"] for s in machine.json("status", "--app", "shop")] == ["shop"]
    assert [s["app"] for s in machine.json("status")] == ["shop", "zebra"]
    assert other.must("secret", "list")
    machine.must("apps", "destroy", "zebra", "--yes")


def test_metrics_count_requests_and_deployments(machine: Machine, shop: App) -> None:
    def metric(name: str) -> float:
        lines = machine.must("metrics").splitlines()
        return float(next((line for line in lines if line.startswith(name)), "0").rpartition(" ")[2])

    live = 'pushrod_deployments_total{app="shop",result="live"}'
    requests = 'pushrod_http_requests_total{app="shop",method="GET",route="/",status="2xx"}'
    before = metric(live)
    assert metric('pushrod_release{app="shop"}') == shop.live
    assert metric('pushrod_instances_running{app="shop",service="web"}') == 1
    assert shop.serves(shop.live)
    apps.eventually(lambda: metric("pushrod_http_requests_total") >= 1, "the request is counted")
    shop.must("restart")
    assert metric(live) == before + 1
    assert metric(requests) >= 1
    assert machine.must("metrics", "--write") == ""
    assert (machine.root / "edge" / "metrics" / "metrics.prom").read_text().endswith("# EOF\n")


def test_apps_destroy_requires_a_confirmation(machine: Machine, shop: App) -> None:
    other = machine.app("zebra", push=False)
    for answer in ("", "no\n", "shop\n"):
        done = machine.pushrod("apps", "destroy", "zebra", stdin=answer)
        assert done.status == 130
        assert "every release, all data in its stores, its secrets" in done.out
        assert other.directory.exists()
    assert machine.pushrod("apps", "destroy", "zebra", stdin="zebra\n").ok
    assert not other.directory.exists()
    assert shop.serves(shop.live)


# ---- a user's own programs --------------------------------------------------------------------------------------


TELL = "import json, os, sys; print(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)])); sys.exit(7)"


@pytest.mark.parametrize(
    "verb", [("exec", "web", "--"), ("exec", "web"), ("run",), ("run", "--service", "web")]
)
def test_a_program_gets_its_arguments_unchanged_and_returns_its_status(
    shop: App, verb: tuple[str, ...]
) -> None:
    words = ["a b", "--app", "", "$HOME", "*", "-h", "'"]
    done = shop.pushrod(*verb, "python", "-c", TELL, *words)
    assert done.status == 7, done.err
    got, cwd, environment = json.loads(done.out)
    assert got == words
    assert cwd == str(shop.directory / "checkouts" / str(shop.live))
    assert environment["PUSHROD_RELEASE"] == str(shop.live)
    assert environment["PUSHROD_APP"] == "shop"
    assert "PUSHROD_ROOT" not in environment


def test_a_program_reads_standard_input(shop: App) -> None:
    done = shop.pushrod("exec", "web", "--", "tr", "a-z", "A-Z", stdin="hello\n")
    assert (done.status, done.out) == (0, "HELLO\n")


def test_a_missing_program_is_reported(shop: App) -> None:
    done = shop.pushrod("exec", "web", "--", "no-such-program")
    assert done.status == 5, done.err
    assert "no-such-program" in apps.complaint(done).what


def test_a_program_is_not_run_as_root(shop: App) -> None:
    done = shop.pushrod("exec", "web", "--", "id", "-u")
    assert done.ok
    assert int(done.out) != 0 or os.geteuid() != 0
    if os.geteuid():
        assert int(done.out) == os.geteuid()


# ---- logs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def following(shop: App, tmp_path: Path) -> Iterator[Path]:
    """`logs -f web` beside the test; yields the file with its output."""
    out = tmp_path / "followed"
    with out.open("w") as f:
        child = subprocess.Popen(
            [*apps.PUSHROD, "logs", "-f", "web"],
            cwd=shop.tree.path,
            env={**shop.machine.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=f,
        )
    try:
        yield out
    finally:
        child.terminate()
        child.wait()


def test_logs_follow_into_the_next_release(shop: App, following: Path) -> None:
    def printed(word: str) -> bool:
        shop.get(f"/print?q={word}")
        return f"web-1        | {word}\n" in following.read_text()

    eventually(lambda: printed("from-the-first"), "the first release's line is followed")
    shop.push_change()
    eventually(lambda: printed("from-the-second"), "the second's too")


def test_logs_can_be_limited_to_a_service_and_a_number_of_lines(shop: App) -> None:
    for n in range(5):
        shop.get(f"/print?q=line-{n}")
    eventually(lambda: "line-4" in shop.must("logs"), "the lines are in the log")
    lines = shop.must("logs", "web", "-n", "2").splitlines()
    assert [line.split(" | ")[1] for line in lines] == ["line-3", "line-4"]
    assert shop.pushrod("logs", "-n", "none").status == 2


# ---- permissions, and leftovers ---------------------------------------------------------------------------------


def test_permissions_are_stored_and_shown(machine: Machine, shop: App) -> None:
    try:
        assert machine.must("apps", "allow", "shop", "/srv/media", "CAP_NET_ADMIN") == (
            "shop may have: /srv/media, NET_ADMIN\n"
        )
        assert machine.json("apps", "list")[0]["allowed"] == ["/srv/media", "NET_ADMIN"]
        done = machine.pushrod("apps", "allow", "shop", "everything")
        assert done.status == 12
        assert "`everything` is not a grant" in apps.complaint(done)
    finally:
        machine.must("apps", "allow", "shop", "--remove", "/srv/media", "NET_ADMIN")
    assert machine.json("apps", "list")[0]["allowed"] == []


def test_prune_removes_unneeded_files(machine: Machine, shop: App) -> None:
    machine.must("apps", "create", "empty", cwd=machine.tree("empty").path)
    old = shop.directory / "logs" / "r0"
    old.mkdir(exist_ok=True)
    for _ in range(6 - shop.live):
        shop.push_change()
    old.mkdir(exist_ok=True)
    machine.must("prune")
    assert not old.exists()
    assert shop.serves(shop.live)
    shop.settled()
    old.mkdir()
    with locks.lock(shop.directory / "lock", purpose="testing", timeout=5):
        done = machine.pushrod("prune")
    assert done.ok
    assert "shop is skipped" in done.err
    assert old.exists()
    machine.must("prune")
    machine.must("apps", "destroy", "empty", "--yes")


# ---- the doctor -------------------------------------------------------------------------------------------------


PARTS = ("python", "git", "disk", "nginx", "postgres", "redis", "uv", "compose", "account", "edge")


def test_doctor_lists_every_part_and_every_app(machine: Machine, shop: App) -> None:
    text = machine.must("doctor")
    for what in (*PARTS, "app shop"):
        assert re.search(rf"^(ok|warning) +{what} ", text, re.MULTILINE), f"{what} is not in:\n{text}"
    result = machine.json("doctor")
    assert {f["what"] for f in result} == {*PARTS, "app shop"}
    assert {f["state"] for f in result} <= {"ok", "warning"}


def test_doctor_of_a_missing_root_creates_nothing(machine: Machine, tmp_path: Path) -> None:
    done = machine.pushrod("doctor", "--root", str(tmp_path / "nothing"))
    assert done.ok, done.out
    assert "`pushrod up` creates it" in done.out
    assert not (tmp_path / "nothing").exists(), "it only looks"


def test_an_unusable_program_is_reported_as_broken(machine: Machine, shop: App) -> None:
    done = machine.pushrod("doctor", PUSHROD_NGINX="/no/such/nginx")
    assert done.status == 10
    assert re.search(r"^broken +nginx ", done.out, re.MULTILINE)
    assert "PUSHROD_NGINX" in done.out
    assert "to do:" in done.out


def test_an_installed_nginx_replaces_the_one_of_the_wheel(new_machine: Callable[[], Machine]) -> None:
    machine = new_machine()
    chosen = machine.directory / "opt" / "nginx"
    chosen.parent.mkdir()
    chosen.symlink_to(Parts({}).nginx)
    machine.env = {**machine.env, "PUSHROD_NGINX": str(chosen)}
    app = machine.app("shop")
    assert f"from PUSHROD_NGINX={chosen}" in machine.must("doctor")
    master = apps.command_of(machine.root, "nginx: master process")
    assert str(chosen) in Path(f"/proc/{master}/cmdline").read_text()
    assert app.serves(1)


def test_a_directory_or_a_name_in_path_is_accepted(machine: Machine, shop: App) -> None:
    program = Parts({}).nginx
    reported = {
        f["what"]: f
        for f in json.loads(machine.pushrod("doctor", "--json", PUSHROD_NGINX=str(program.parent)).out)
    }
    assert reported["nginx"]["state"] == "ok"
    assert f"PUSHROD_NGINX={program.parent}" in reported["nginx"]["detail"]


# ---- ordinary output --------------------------------------------------------------------------------------------


def test_the_output_of_a_push_lists_its_steps(shop: App) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed("readable")}, "Make it readable")
    done = shop.tree.push()
    assert done.ok
    shop.good = shop.tree.head()
    steps = re.findall(r"^  (\w+) +.* +\d+\.\d\d s$", done.err, re.MULTILINE)
    assert steps == ["prepare", "plan", "start", "ready", "switch", "live", "drain", "record"]
    assert "“Make it readable”" in done.err
    assert f"live: {shop.url} (release {shop.live})" in done.err
    assert "\033" not in done.err
    ours = [line for line in done.err.splitlines() if "/" not in line or shop.url in line]
    assert max(map(len, ours)) <= 100


def test_tables_are_aligned_in_columns(machine: Machine, shop: App) -> None:
    shop.push_change()
    status = shop.must("status")
    assert re.match(rf"shop: live, release {shop.live} \([0-9a-f]{{7}} “.+”\) since \d+ s ago\n", status)
    assert shop.url in status
    assert re.search(rf"^  shop-r{shop.live}  web-1 +(running|starting) +\d+ +\d+ s", status, re.MULTILINE)
    releases = shop.must("releases").splitlines()
    assert releases[0].split() == ["RELEASE", "STATE", "COMMIT", "WHEN"]
    assert releases[1].split()[:2] == [str(shop.live), "live"]
    listed = machine.must("apps", "list").splitlines()
    assert listed[0].split() == ["APP", "STATE", "RELEASE", "URL"]
    assert listed[1].split() == ["shop", "live", str(shop.live), shop.url]
    for text in (status, *releases, *listed):
        assert "\033" not in text
        assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_errors_are_printed_only_on_standard_error(shop: App) -> None:
    done = shop.pushrod("rollback", "99", "--app", "shop")
    assert done.status == 12
    assert done.out == ""
    assert done.err.splitlines()[0].startswith("pushrod: ")


def test_json_is_the_only_output_on_standard_output(shop: App) -> None:
    shop.tree.commit({"compose.yaml": apps.manifest(environment={"A": "${NOT_SET}"})}, "a warning")
    done = shop.pushrod("plan", "--json")
    assert json.loads(done.out)["app"] == "shop"
    assert "NOT_SET" in done.err
    shop.restore()


# ---- new --------------------------------------------------------------------------------------------------------


def test_new_makes_a_repository_with_a_commit(machine: Machine, tmp_path: Path) -> None:
    output = machine.must("new", "bakery", cwd=tmp_path)
    assert "cd " in output
    tree = apps.Tree(tmp_path / "bakery", machine.env)
    assert tree.git("log", "--oneline").endswith("bakery: begin")
    assert tree.git("status", "--porcelain") == ""
    assert (tree.path / "compose.yaml").exists()
    again = machine.pushrod("new", "bakery", cwd=tmp_path)
    assert again.status == 12
    assert "already exists" in apps.complaint(again).what
    assert machine.pushrod("new", "Bakery", cwd=tmp_path).status == 12

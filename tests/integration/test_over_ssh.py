"""The verbs and pushes of a developer whose app is on another machine.

`ssh` is replaced by a program that runs on this machine what sshd would run for a key: the real gate, with the
words that were sent. So everything except SSH itself is real.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Done, Machine, Tree
from pushrod.cli import scaffold

pytestmark = pytest.mark.integration

SSH = """\
#!/bin/sh
while [ "$1" != pushrod@server ]; do shift; done
shift
cd {root}
unset GIT_DIR
SSH_ORIGINAL_COMMAND="$*" PUSHROD_ROOT={root} exec {python} -P -m pushrod gate tester
"""


class Desk(Tree):
    """A repository on a developer's own machine, without the app."""

    def pushrod(self, *argv: str, stdin: str | None = None) -> Done:
        return apps.run([*apps.PUSHROD, *argv], self.path, self.env, stdin)

    def must(self, *argv: str, stdin: str | None = None) -> str:
        done = self.pushrod(*argv, stdin=stdin)
        assert done.ok, done.err
        return done.out


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    return machine.app("shop")


@pytest.fixture
def desk(shop: App, tmp_path: Path) -> Desk:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    root = shlex.quote(str(shop.machine.root))
    program.write_text(SSH.format(root=root, python=shlex.quote(sys.executable)))
    program.chmod(0o755)
    kept = {k: v for k, v in shop.machine.env.items() if k != "PUSHROD_ROOT"}
    env = {**kept, "HOME": str(tmp_path / "home"), "GIT_SSH_COMMAND": str(program), "GIT_SSH_VARIANT": "ssh"}
    (tmp_path / "home").mkdir()
    shop.restore()
    shop.tree.git("clone", "--quiet", str(shop.tree.path), str(tmp_path / "desk"))
    desk = Desk(tmp_path / "desk", env)
    desk.git("remote", "add", "pushrod", "pushrod@server:shop")
    return desk


def test_a_developer_pushes_and_uses_verbs_over_ssh(shop: App, desk: Desk) -> None:
    before = shop.live
    desk.commit({"app.py": apps.changed("from the desk")})
    pushed = desk.push()
    assert pushed.ok, pushed.err
    assert "live: http://" in pushed.err
    assert (shop.live, shop.get().body) == (before + 1, "from the desk")
    shop.restore()
    (status,) = json.loads(desk.must("status", "--json"))
    assert (status["app"], status["release"]) == ("shop", shop.live)
    assert desk.must("releases").splitlines()[1].split()[:2] == [str(shop.live), "live"]
    shop.get("/print?q=heard-on-the-desk")
    apps.eventually(lambda: "heard-on-the-desk" in desk.must("logs", "web"), "the line is in the log")
    assert desk.must("exec", "web", "--", "sh", "-c", 'echo "$PUSHROD_RELEASE"') == f"{shop.live}\n"
    desk.must("rollback")
    assert shop.live == before
    desk.must("deploy")
    assert shop.live == before + 2


def test_an_export_is_made_there_and_written_here(shop: App, desk: Desk) -> None:
    words = ("--registry", "registry.example.com/team")
    refused = apps.complaint(desk.pushrod("export", "kubernetes", *words, "../k"))
    assert refused.what == "no such Dockerfile in the commit"  # of the live release
    desk.commit({"Dockerfile": "FROM python:3.13-slim\nEXPOSE 8000\n"})
    commit = desk.git("rev-parse", "HEAD").strip()
    desk.must("export", "kubernetes", *words, "--commit", "HEAD", "../k")
    assert (
        f"shop, release {commit[:10]}, commit" in (desk.path.parent / "k" / "kustomization.yaml").read_text()
    )
    desk.must("export", "compose", "--commit", "HEAD", "../c")
    assert "${SOURCE:-../desk}" in (desk.path.parent / "c" / "compose.yaml").read_text()
    assert not (desk.path.parent / "c" / ".env").exists()
    refused = apps.complaint(desk.pushrod("export", "compose", "--commit", "HEAD", "--with-secrets", "../c"))
    assert refused.what == "secrets do not leave the server this way"


def test_calls_over_ssh_are_recorded(shop: App, desk: Desk) -> None:
    desk.commit({"app.py": apps.changed("to be told of")})
    assert desk.push().ok
    desk.commit({"app.py": "import nothing_like_it"})
    assert not desk.push().ok
    assert desk.pushrod("rollback", "999").status == 12
    desk.must("status")
    shop.must("restart")
    acts = [a for a in json.loads(shop.must("audit", "--app", "shop", "--json")) if a["what"] != "fetch"][-5:]
    output = [(a["by"], a["what"], a["result"], a["code"]) for a in acts]
    assert output[:4] == [
        ("tester", "push", "done", 0),
        ("tester", "push", "failed", 8),
        ("tester", "rollback", "failed", 12),
        ("tester", "status", "done", 0),
    ]
    assert (acts[4]["by"] != "tester", acts[4]["what"]) == (True, "restart")
    assert re.fullmatch(r"commit [0-9a-f]{40}; release \d+", acts[0]["detail"])
    assert "ended at boot" in acts[1]["detail"]
    assert ": unchanged" in shop.must("audit", "verify")
    shop.restore()


def test_a_plan_over_ssh_changes_nothing(shop: App, desk: Desk) -> None:
    before, live = shop.footprint(), shop.live
    commit = desk.commit({"compose.yaml": apps.manifest(deploy={"replicas": 2})}, "Two of them")
    plan = json.loads(desk.must("plan", "--json"))
    assert (plan["app"], plan["commit"]) == ("shop", commit)
    assert [(c["name"], c["action"]) for c in plan["changes"]] == [("web", "changed")]
    text = desk.must("plan", "HEAD")
    assert text.startswith("web is the entry, because ")
    assert text.splitlines()[1] == f"shop: {commit[:7]} “Two of them”"
    assert re.search(r"^service +web +changed +1 → 2 instances", text, re.MULTILINE)
    shop.untouched(before, live)
    assert desk.pushrod("plan", "no-such-ref").status == 4


def test_a_plan_of_an_unknown_app_does_not_create_it(shop: App, desk: Desk) -> None:
    done = desk.pushrod("plan", "--app", "nowhere")
    desk.git("remote", "set-url", "pushrod", "pushrod@server:nowhere")
    other = desk.pushrod("plan")
    assert (done.status != 0, other.status != 0) == (True, True)
    assert "no app `nowhere`" in other.err
    assert not (shop.machine.root / "apps" / "nowhere").exists()


def test_an_invalid_manifest_has_the_same_exit_code_over_ssh(shop: App, desk: Desk) -> None:
    desk.commit({"compose.yaml": apps.manifest(**{"x-pushrod": {"helth": {}}})})
    done = desk.pushrod("plan")
    assert done.status == 3
    assert "helth" in apps.complaint(done)


def test_secrets_are_set_over_ssh(shop: App, desk: Desk) -> None:
    assert "KEY is set" in desk.must("secret", "set", "KEY", stdin="hush $(id)\n")
    (desk.path / ".env").write_text("OTHER=1\n")
    assert "1 set: OTHER" in desk.must("secret", "import", ".env")
    assert json.loads(desk.must("secret", "list", "--json")) == ["KEY", "OTHER"]
    shop.must("restart")
    environment = json.loads(shop.get("/environment").body)
    assert (environment["KEY"], environment["OTHER"]) == ("hush $(id)", "1")
    desk.must("secret", "unset", "KEY", "OTHER")
    assert shop.must("secret", "list").startswith("none")


def test_maintenance_is_switched_over_ssh(shop: App, desk: Desk) -> None:
    desk.must("maintenance", "on", "--allow", "203.0.113.0/24", "--allow", "::1")
    assert shop.get().status == 503
    assert json.loads(desk.must("status", "--json"))[0]["maintenance"]["allow"] == [
        "203.0.113.0/24",
        "::1/128",
    ]
    assert desk.must("maintenance", "off") == "shop is open\n"
    assert shop.get().status == 200


def test_a_local_deployment_leaves_the_remote(shop: App, desk: Desk, tmp_path: Path) -> None:
    machine = shop.machine
    here = Desk(desk.path, {**desk.env, "PUSHROD_ROOT": str(tmp_path / "here")})
    try:
        assert here.must("up", "--port", str(apps.edge_port())).startswith("http://127.0.0.1:")
        assert here.git("remote", "get-url", "pushrod") == "pushrod@server:shop"
        assert machine.root != tmp_path / "here"
    finally:
        here.must("apps", "destroy", "desk", "--yes")


RECORDING_SSH = """\
#!/bin/sh
printf '%s\\n' "$@" > {place}/argv
while [ "$1" != pushrod@server ]; do
    case "$1" in
        -i) cat "$2" > {place}/key ;;
        UserKnownHostsFile=*) cat "${{1#*=}}" > {place}/known_hosts ;;
    esac
    shift
done
exec {program} "$@"
"""


@pytest.mark.parametrize("as_files", [False, True])
def test_the_deploy_script_of_the_template_pushes_from_ci(
    shop: App, desk: Desk, tmp_path: Path, as_files: bool
) -> None:
    """Uses only its key and only the host with the pinned key, and leaves neither behind."""
    desk.commit(
        {"app.py": apps.changed("from ci"), "deploy.sh": scaffold.template_files("shop")["deploy.sh"]}
    )
    desk.git("remote", "remove", "pushrod")
    place, temporary = tmp_path / "ci", tmp_path / "tmp"
    for directory in (place, temporary):
        directory.mkdir()
    words = {"place": place, "program": desk.env["GIT_SSH_COMMAND"]}
    (place / "ssh").write_text(RECORDING_SSH.format(**{k: shlex.quote(str(v)) for k, v in words.items()}))
    (place / "ssh").chmod(0o755)
    given = {"DEPLOY_KEY": "a key\nof two lines", "DEPLOY_HOST_KEY": "server ssh-ed25519 AAAA"}
    if as_files:
        for name, text in given.items():
            (place / name).write_text(f"{text}\n")
            given[name] = str(place / name)
    kept = {k: v for k, v in desk.env.items() if k != "GIT_SSH_COMMAND"}
    env = {
        **kept,
        "PATH": f"{place}:{kept['PATH']}",
        "TMPDIR": str(temporary),
        "DEPLOY_HOST": "server",
        **given,
    }
    before = shop.live
    done = apps.run(["/bin/sh", "deploy.sh"], desk.path, env)
    assert done.ok, done.err
    assert (shop.live, shop.get().body) == (before + 1, "from ci")
    assert (place / "key").read_text() == "a key\nof two lines\n"
    assert (place / "known_hosts").read_text() == "server ssh-ed25519 AAAA\n"
    argv = (place / "argv").read_text().splitlines()
    assert {"StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null", "IdentitiesOnly=yes"} <= set(argv)
    assert not list(temporary.iterdir())
    shop.restore()


def test_ci_fails_when_the_release_does_not_go_live(shop: App, desk: Desk, tmp_path: Path) -> None:
    desk.commit(
        {"app.py": "import nothing_like_it", "deploy.sh": scaffold.template_files("shop")["deploy.sh"]}
    )
    program = Path(desk.env["GIT_SSH_COMMAND"])
    kept = {k: v for k, v in desk.env.items() if k != "GIT_SSH_COMMAND"}
    given = {"DEPLOY_HOST": "server", "DEPLOY_KEY": "key", "DEPLOY_HOST_KEY": "host"}
    before = shop.live
    env = {**kept, **given, "PATH": f"{program.parent}:{kept['PATH']}"}
    done = apps.run(["/bin/sh", "deploy.sh"], desk.path, env)
    assert done.status == 1
    assert shop.serves(before)


# ---- ways of writing calls
# ----------------------------------------------------------------------------------------

SECRET = "hunter2-is-typed-by-hand"
NEVER = "a value is never an argument"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("exec web --app shop -- echo -n hi", "hi"),
        ("exec --app shop web -- echo --app other", "--app other\n"),
        ("exec web --app=shop -- echo -- hi", "-- hi\n"),
        ("exec web sh -c 'echo $0 $1' -- --app", "-- --app\n"),
        ("run --service web -- echo - --x", "- --x\n"),
        ("secret set TYPED - --app shop", "TYPED is set"),
        ("secret set --app shop TYPED -", "TYPED is set"),
        ("secret set --app shop -- TYPED -", "TYPED is set"),
        ("secret set TYPED --app shop", "TYPED is set"),
        ("secret import - --app shop", "1 set: A"),
        ("secret import --app=shop -", "1 set: A"),
        ("apps set shop -- file=", "shop: its compose file is the one at the top"),
        ("audit -- verify", ": unchanged"),
    ],
)
def test_options_are_accepted_in_any_usual_position(shop: App, desk: Desk, words: str, expected: str) -> None:
    """Both on the machine itself and over SSH; the parser is the same."""
    typed = shlex.split(words)
    assert expected in shop.must(*typed, stdin="A=1\n")
    done = sent(desk, words, "A=1\n")
    assert done.ok, done.err
    assert expected in done.out


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (f"secret set TYPED={SECRET} --app shop", 2, NEVER),
        (f"secret set TYPED {SECRET} --app shop", 2, NEVER),
        (f"secret set TYPED - {SECRET} --app shop", 2, NEVER),
        (f"secret set --app shop -- TYPED {SECRET} more", 2, NEVER),
        (
            "secret import -- - --app shop",
            2,
            "Words after `--` are not options: write options before it.",
        ),
        ("logs web -- -n 3", 2, "Words after `--` are not options: write options before it."),
        ("exec web --app shop echo hi", 2, "options come before it, or before a `--`"),
        ("run - echo hi", 2, "`-` is not a program"),
        ("cert set - --app shop", 2, "Missing option '--certificate'"),
        ("secret import --app shop", 2, "Missing argument 'FILE'"),
        ("logs web -x", 2, "No such option '-x'"),
    ],
)
def test_an_invalid_call_is_reported_alike_locally_and_over_ssh(
    shop: App, desk: Desk, words: str, status: int, expected: str
) -> None:
    for done in (shop.pushrod(*shlex.split(words), stdin="A=1\n"), sent(desk, words, "A=1\n")):
        assert done.status == status, done.err
        assert expected in done.err
        assert SECRET not in done.out + done.err
    assert SECRET not in shop.must("audit", "--lines", "1000", "--json")


@pytest.mark.parametrize("words", ["secret set TYPED='open", "secret set 'TYPED=open"])
def test_a_value_in_a_malformed_call_is_not_recorded(shop: App, desk: Desk, words: str) -> None:
    assert sent(desk, f"{words} {SECRET}").status == 12
    assert SECRET not in shop.must("audit", "--lines", "1000", "--json")


@pytest.mark.parametrize("words", ["secret unset -- -x", "secret unset -- -x KEY", "logs -- --web"])
def test_arguments_with_a_dash_are_sent_unchanged(shop: App, desk: Desk, words: str) -> None:
    """A developer's machine sends words, behind a `--` as they were."""
    done = desk.pushrod(*shlex.split(words))
    assert done.status == 12, done.err
    assert "No such option" not in done.err


def test_an_option_after_a_service_belongs_to_the_verb_over_ssh_too(shop: App, desk: Desk) -> None:
    assert desk.must("exec", "web", "--app", "shop", "--", "echo", "-n", "hi") == "hi"


def sent(desk: Desk, words: str, stdin: str = "") -> Done:
    """A call by a key's owner with their own SSH client."""
    ssh = desk.env["GIT_SSH_COMMAND"]
    return apps.run([ssh, "pushrod@server", words], desk.path, desk.env, stdin)

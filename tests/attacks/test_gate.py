"""A key for one app, whatever it asks for over SSH, reaches only that app and uses only its share."""

import re
from concurrent import futures
from contextlib import ExitStack

import pytest

from devtools.lab.ground import ROOT, assert_within
from pushrod.provisioning import shares
from pushrod.provisioning.verbs import VERBS
from pushrod.system import waits
from tests.attacks.town import SECRET, Attacker, Party, Town

pytestmark = pytest.mark.lab

PROGRAM = f"""\
#!/bin/sh
echo "ON THE HOST AS $(id -un)"
cat {ROOT}/apps/victim/secrets/variables.json
touch /var/tmp/was-here
"""
JOURNAL = """\
{"at":"2026-01-01T00:00:00.000+00:00","event":"live","release":1}
{"at":"2026-01-01T00:00:00.000+00:00","event":"done","release":1}
"""


def a_root(attacker: Attacker) -> dict[str, str | bytes]:
    """The files of a complete root with the attacker's own program, below `r` of the pushed tree."""
    app = f"r/apps/{attacker.name}"
    sealed = attacker.box.get(f"{attacker.directory}/state/releases/{attacker.live}/release.json").decode()
    return {
        "r/host.json": '{"pool": "10.213.0.0/16"}',
        "r/programs/docker-compose": PROGRAM,
        f"{app}/app.json": attacker.box.get(f"{attacker.directory}/app.json"),
        f"{app}/journal": JOURNAL,
        f"{app}/state/releases/1/release.json": re.sub(r'"number": \d+', '"number": 1', sealed),
        f"{app}/secrets/releases/1.json": '{"web": {}, "web:release": {}}',
    }


def test_a_root_in_a_pushed_commit_is_not_used(town: Town, attacker: Attacker) -> None:
    place = attacker.tree.path / "r"
    (place / "programs").mkdir(parents=True)
    (place / "programs" / "docker-compose").touch(0o755)
    (place / "apps" / attacker.name / "state").mkdir(parents=True)
    (place / "apps" / attacker.name / "state" / "live").symlink_to("releases/1")
    done = attacker.pushes(a_root(attacker))
    assert done.ok, done.err
    there = f"{attacker.directory}/checkouts/{attacker.live}/r"
    box = town.box
    assert box.exec("test", "-x", f"{there}/programs/docker-compose", check=False).status == 0
    for command in (
        f"run --app -- --app attacker --root {there} true",
        f"exec --app -- --app attacker --root {there} web true",
        f"run --root={there} --app attacker true",
        f"run --service -- --root {there} true",
        f"logs --slow -- --root {there}",
        f"status --app=-- --root {there}",
        f"--root {there} run true",
        f"-- run --root {there} true",
        f"run --app=attacker --root {there} -- true",
        f"secret list --root={there}",
        f"plan --app -- --app attacker --root {there} {'0' * 40}",
        f"db backups --root {there} --app attacker",
        f"down {there}",
    ):
        answer = attacker.says(command)
        assert answer.status in (2, 12), command
        assert "ON THE HOST" not in answer.stdout + answer.stderr, command
        assert SECRET not in answer.stdout + answer.stderr, command
    assert box.exec("test", "-e", "/var/tmp/was-here", check=False).status == 1


def all_refused(attacker: Attacker, *commands: str) -> None:
    """Each is refused as an invalid call or as one the key may not make, without further output."""
    for command in commands:
        answer = attacker.says(command)
        assert answer.status in (2, 12), (command, answer)
        assert answer.stdout == "", (command, answer)


def test_no_option_reaches_a_program_below(attacker: Attacker) -> None:
    all_refused(
        attacker,
        "exec web -- --privileged sh",
        "exec -it web sh",
        "exec -- --privileged web sh",
        "run -v /:/host true",
        "run -- --entrypoint=sh web",
        "run --rm",
        "run --service --privileged true",
        "logs -- --details",
        "logs --lines=-1",
        "plan --output=/tmp/x",
        "plan -- --exec=id",
        "db restore -- --yes",
        "secret unset -- --all",
        "scale -- --x=1",
        "git-receive-pack --help attacker",
        "git-upload-pack --timeout=9 attacker",
        "git-upload-pack --upload-pack=id",
        "git upload-archive attacker",
    )


def test_no_path_leads_to_another_app_or_the_host(attacker: Attacker) -> None:
    all_refused(
        attacker,
        "git-upload-pack victim/../attacker/../victim",
        "git-upload-pack attacker/../victim",
        f"git-upload-pack {ROOT}/apps/victim/repo.git",
        "git-upload-pack '~pushrod/apps/victim/repo.git'",
        "status --app attacker --app victim",
        "status --app ../victim",
        "logs ../../victim/logs",
        "db verify ../../victim/backups/x",
        "secret import /etc/shadow",
        "secret import --app attacker -- /dev/stdin",
        "cert set --certificate - --certificate /etc/shadow",
        "cert set --certificate /etc/shadow --app attacker",
        "cert set --certificate - --key /etc/shadow",
        "image load -",
        "apps destroy victim --yes",
        "doctor --repair --app victim",
    )


OTHERS = (
    *("new", "up", "deploy", "db admin", "service", "metrics", "apps allow attacker privileged", "prune"),
    *(
        "web",
        "web open",
        "web invite eve",
        "web call",
        "web door",
        "web serve",
        "web link",
        "hook attacker",
        "recover",
    ),
    *(
        "host",
        "host init",
        "host limits",
        "host keys list",
        "host restore --from /srv",
        "gate attacker",
        "future",
    ),
    *(
        "status --future",
        "plan --output=/tmp/x",
        "logs --exec=id",
        "db backup --to=/tmp",
        "export helm",
        "db future",
    ),
)


def test_no_verb_or_parameter_that_is_not_on_the_list_runs(town: Town, attacker: Attacker) -> None:
    """Nor one that a later pushrod has."""
    listed = {path for path, verb in VERBS.items() if verb.key is None}
    assert {path for path in listed if not any(f"{words} ".startswith(f"{path} ") for words in OTHERS)} == {
        "host alarm check",
        "host notify check",
        "host edge",
    }  # below `host`
    before = attacker.footprint()
    with futures.ThreadPoolExecutor(shares.PARALLEL - 1) as pool:
        for words, answer in zip(OTHERS, pool.map(attacker.says, OTHERS), strict=True):
            assert answer.status in (2, 12) and answer.stdout == "", (words, answer)
    assert attacker.footprint() == before


def test_a_key_cannot_find_out_which_files_exist_on_the_host(town: Town, attacker: Attacker) -> None:
    there = (
        "/etc/shadow",
        "/etc/passwd",
        "/etc",
        "/root",
        f"{ROOT}/apps/victim",
        f"{ROOT}/apps/victim/repo.git/HEAD",
    )
    assert all(town.box.exec("test", "-e", path, check=False).status == 0 for path in there)
    for verb in ("secret import", "cert set --certificate", "down"):
        answer = {
            attacker.says(f"{verb} {path}").stderr for path in (*there, "/etc/none", f"{ROOT}/apps/none")
        }
        assert len(answer) == 1, (verb, answer)


# ---- its share ----------------------------------------------------------------------------------------------------


def test_calls_of_a_key_stay_within_its_limits(town: Town, attacker: Attacker) -> None:
    with attacker.asking(attacker.key):
        assert_within(town.box, attacker.name)


def test_a_key_does_not_use_the_slots_of_others(attacker: Attacker, victim: Party) -> None:
    with ExitStack() as stack:
        for _ in range(shares.PARALLEL):
            stack.enter_context(attacker.asking(attacker.key))
        one_more = attacker.asks("status")
        assert one_more.status == 13
        assert f"the key attacker has {shares.PARALLEL} running calls" in one_more.stderr
        pushed = attacker.push()
        assert "running calls" in pushed.err
        assert victim.asks("status").status == 0
    assert waits.wait_until(lambda: attacker.asks("status").status == 0, 10, 0.5)

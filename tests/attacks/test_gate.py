"""What a key for one app asks for over SSH, in whichever words: it leads to that app alone, and takes its share."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pushrod import host
from pushrod.hosting import shares
from tests.attacks.town import SECRET, Attacker, Party, Town
from tests.lab.ground import ROOT

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
    """The files of a whole root with a program of the attacker's own, below `r` of the tree that is pushed."""
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


def test_a_root_that_was_pushed_is_nobodys_root(town: Town, attacker: Attacker) -> None:
    tree = attacker.tree
    tree.commit(a_root(attacker), "a root")
    (tree.path / "r/programs/docker-compose").chmod(0o755)
    (tree.path / "r" / f"apps/{attacker.name}" / "state" / "live").symlink_to("releases/1")
    tree.git("add", "--all")
    tree.git("commit", "--quiet", "--amend", "--message=a root")
    done = attacker.push()
    assert done.ok, done.err
    there = f"{attacker.directory}/checkouts/{attacker.live}/r"
    box = town.box
    assert box.exec("test", "-x", f"{there}/programs/docker-compose", check=False).status == 0
    before = box.exec("find", ROOT, "-name", "lock", "-newer", "/proc/1").stdout
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
        said = attacker.says(command)
        assert said.status in (2, 12), command
        assert "ON THE HOST" not in said.stdout + said.stderr, command
        assert SECRET not in said.stdout + said.stderr, command
    assert box.exec("test", "-e", "/var/tmp/was-here", check=False).status == 1
    assert box.exec("find", ROOT, "-name", "lock", "-newer", "/proc/1").stdout == before


def test_no_option_reaches_a_program_below(attacker: Attacker) -> None:
    for command in (
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
    ):
        said = attacker.says(command)
        assert said.status in (2, 12), (command, said)
        assert said.stdout == "", (command, said)


def test_no_path_leads_to_another_app_or_the_host(attacker: Attacker) -> None:
    for command in (
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
    ):
        said = attacker.says(command)
        assert said.status in (2, 12), (command, said)
        assert said.stdout == "", (command, said)


# ---- its share ----------------------------------------------------------------------------------------------------


@contextmanager
def sleeping(party: Party) -> Iterator[None]:
    """A call that goes on until the end of the block."""
    argv = [*party.box.ssh_command(party.key), f"pushrod@{party.box.address}", "exec web -- cat"]
    with host.beside(argv, env={"PATH": "/usr/bin:/bin"}, told="here\n", timeout=30) as said:
        assert said == "here"
        yield


def test_what_a_key_asks_for_stays_within_its_limits(town: Town, attacker: Attacker) -> None:
    unit = shares.unit(attacker.name)
    with sleeping(attacker):
        told = town.box.exec("systemctl", "show", "--property=ControlGroup,MemoryMax,TasksMax", unit).stdout
        found = dict(line.split("=", 1) for line in told.splitlines())
        assert found["ControlGroup"] == f"/pushrodgate.slice/{unit}"
        assert "infinity" not in found.values()
        running = town.box.exec("pgrep", "--full", "gate attacker|docker exec").stdout.split()
        groups = [town.box.get(f"/proc/{number}/cgroup").decode() for number in running]
        inside = [group for group in groups if unit in group]
        assert len(inside) >= 2, groups  # the gate and Docker's program
        for (
            group
        ) in inside:  # control groups of version 1 have a line for each, those of version 2 one for all
            assert all(
                unit in line for line in group.splitlines() if re.search(r":(memory|pids|cpu):|^0::", line)
            )


def test_a_key_does_not_use_up_the_turns_of_others(attacker: Attacker, victim: Party) -> None:
    with ExitStack() as stack:
        for _ in range(shares.PARALLEL):
            stack.enter_context(sleeping(attacker))
        one_more = attacker.asks("status")
        assert one_more.status == 13
        assert f"{shares.PARALLEL} calls of the key attacker run already" in one_more.stderr
        pushed = attacker.push()
        assert "run already" in pushed.err
        assert victim.asks("status").status == 0
    assert host.wait_until(lambda: attacker.asks("status").status == 0, 10, 0.5)

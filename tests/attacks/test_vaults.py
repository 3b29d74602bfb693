"""Vaults that the host's owner has set for others, and what somebody with a vault's password has put into one."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from devtools.lab.ground import DOCKERFILE, ROOT
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town

pytestmark = [pytest.mark.lab, pytest.mark.long]


def test_a_vault_of_others_needs_the_owners_word(attacker: Attacker) -> None:
    """The error does not say whether there is one of that name: nobody has looked."""
    result = attacker.refused(
        {"compose.yaml": MANIFEST.replace("keep: 3", "keep: 3, backups: {to: offsite}")}
    )
    assert (result.where, result.to_do) == (
        "x-pushrod.backups.to",
        "the host's owner can allow it: pushrod apps allow attacker vault:offsite",
    )
    planned = attacker.at_desk("plan", check=False)
    assert (planned.status, result.to_do in planned.stderr) == (3, True), planned


# ---- what comes back --------------------------------------------------------------------------------------------

KEPT = """\
  kept:
    image: python:3.13-slim
    command: [sleep, infinity]
    stop_grace_period: 0s
    x-pushrod: {role: store}
"""
MARK = "/tmp/hostile"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKqcKbm8Ylkj4TPGq7TqKJ1cJl9m2vJH8ePb0iU3n1sK"
# Puts copies into the vault: of the app as it is, with what its owner would never have sent; of a second one that
# does not fit; of the host's own files; of an app's log; and of apps that are none.
PUTS = f"""\
import json, os, sys
from pathlib import Path
import msgspec, yaml
from pushrod.backups import staging, vaulting
from pushrod.core.times import now
from pushrod.state.apps import App, Root
from pushrod.state.vaults import Vaults

root = Root(Path("{ROOT}"))
app, far = App(root, "lost"), vaulting.repository(root, Vaults(root).find("far"))
top = app.directory / "sent"  # on the disk of its files

def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

def listed(place, name, backup=""):
    digests = dict(staging._digests(place))
    live = int(os.readlink(app.state / "live").rpartition("/")[2])
    contents = staging.Contents(app=name, at=now(), release=live, commit="c" * 40, backup=backup, files=digests)
    (place / staging.CONTENTS).write_bytes(msgspec.json.encode(contents))

staging.collect(app, 1, "c" * 40, "", top)
shop, edge, hook = top / "apps/lost", top / "edge", "#!/bin/sh\\ntouch {MARK}\\n"
for path, text in {{
    shop / "repo.git/hooks/post-receive": hook,
    shop / "repo.git/hooks/pre-receive": hook,
    shop / "repo.git/config": "[core]\\n\\tfsmonitor = touch {MARK}\\n",
    shop / "repo.git/objects/info/alternates": "{ROOT}/apps/victim/repo.git/objects\\n",
    shop / "state/.git/config": "[core]\\n\\tfsmonitor = touch {MARK}\\n",
    shop / "state/stores/hooks.json": json.dumps([{{"container": "lost-kept", "name": "kept",
        "post_start": [["touch", "{MARK}"]], "pre_stop": [["touch", "{MARK}"]]}}]),
    top / "apps/victim/app.json": "{{}}",
    top / "programs/docker-compose": hook,
    top / "host.json": "{{}}",
    edge / "trees/1/nginx.conf": "user root;",
    edge / "certificates/victim/1/key.pem": "key",
}}.items():
    put(path, text)
for path in [shop / "state/stores/compose.yaml", *shop.glob("state/releases/*/*.yaml")]:
    whole = yaml.safe_load(path.read_text())
    for service in whole["services"].values():
        service |= {{"privileged": True, "volumes": [*service.get("volumes", []), "/:/host"]}}
    path.write_text(yaml.safe_dump(whole))
settings = json.loads((shop / "app.json").read_text())
put(shop / "app.json", json.dumps({{**settings, "allowed": ["NET_ADMIN", "everything", "$(id)"]}}))
(shop / "secrets/shadow").symlink_to("/etc/shadow")
(shop / "secrets/theirs").symlink_to("../../victim/secrets")
os.mkfifo(shop / "secrets/pipe")
put(shop / "secrets/one", "x")
os.link(shop / "secrets/one", shop / "secrets/two")
put(shop / "secrets/setuid", "x")
os.chmod(shop / "secrets/setuid", 0o6777)
listed(top, "lost")
far.send(top, ["app:lost", "app:victim", "app:../victim", "app:Lost", "app:lost;id"])

large = Path("/var/lib/pushrod/large")
put(large / "apps/large/app.json", json.dumps({{**settings, "name": "large"}}))
with (large / "apps/large/secrets").open("wb") as zeros:
    zeros.truncate(200 << 20)
listed(large, "large")
far.send(large, ["app:large"])

own = Path("/var/lib/pushrod/own")
gate = 'restrict,pty,command="/opt/x gate'
put(own / ".ssh/authorized_keys", "\\n".join([
    f'{{gate}} returned --app lost" {KEY} returned',
    "{KEY.replace("KqcK", "KqdK")} root",
    'restrict,command="touch {MARK}; true gate bob" {KEY.replace("KqcK", "KqeK")} bob',
    f'{{gate}} carol --app ../victim" {KEY.replace("KqcK", "KqfK")} carol',
]))
listed(own, "")
far.send(own, ["host"])

log = Path("/var/lib/pushrod/log")
for path in ("db/bases/one.tar", "db/log/0001", "db/log/sub/x", "top"):
    put(log / path, "x")
base = {{"name": "../../../../victim/base", "at": "", "begin": 0, "size": 1, "sha256": ""}}
put(log / "db/state.json", json.dumps({{"bases": [base]}}))
(log / "db/links").symlink_to("/etc")
far.send(log, ["wal:lost"])
"""


class Returned(NamedTuple):
    """What `host restore` has printed, and what is there then."""

    status: int
    output: str


@pytest.fixture(scope="module")
def returned(made_town: Town) -> Iterator[Returned]:
    """An app that was lost, restored from such a vault beside the victim."""
    restic = shutil.which("restic")
    if restic is None:
        pytest.skip("needs restic: apt-get install restic")
    box, ground, sent = made_town.box, made_town.ground, f"{ROOT}/large {ROOT}/own {ROOT}/log"
    box.put("/usr/local/bin/restic", Path(restic).read_bytes(), 0o755)
    box.exec("systemctl", "stop", "pushrod-wal.timer", "pushrod-wal.service")
    try:
        tree = {"compose.yaml": MANIFEST.replace("attacker", "lost") + KEPT}
        lost = ground.app("lost", {"app.py": PROGRAM, "Dockerfile": DOCKERFILE, **tree})
        done = lost.push()
        assert done.ok, done.err
        box.exec("install", "-d", "-o", "pushrod", "/srv/vault")
        password = re.findall(
            r"shown only now: (\S+)",
            ground.pushrod("host", "backups", "set", "/srv/vault", "--name", "far").stdout,
        )[0]
        box.exec("/opt/pushrod/bin/python", "-", stdin=PUTS)
        box.exec("chown", "-R", "pushrod:", "/srv/vault", f"{ROOT}/vaults")
        box.exec("rm", "-rf", f"{ROOT}/apps/lost/sent")
        ground.pushrod("apps", "destroy", "lost", "--yes")
        ground.pushrod("host", "backups", "unset", "far")
        # the disk on which copies are read back
        box.exec(
            "sh", "-c", f"mkdir -p {ROOT}/vault && mount -t tmpfs -o size=400m,mode=700 none {ROOT}/vault"
        )
        box.exec("chown", "pushrod:", f"{ROOT}/vault")
        argv = ("host", "restore", "--from", "/srv/vault", "--credentials", "-")
        restored = box.exec("pushrod", *argv, stdin=f"RESTIC_PASSWORD={password}\n", check=False)
        yield Returned(restored.status, restored.stdout + restored.stderr)
    finally:
        box.exec("umount", f"{ROOT}/vault", check=False)
        for name in ("returned", "bob"):
            ground.pushrod("host", "keys", "remove", name, check=False)
        ground.pushrod("host", "backups", "unset", check=False)
        ground.pushrod("apps", "destroy", "lost", "--yes", check=False)
        box.exec("sh", "-c", f"rm -rf {sent} {ROOT}/vault {ROOT}/vaults /srv/vault {MARK}")
        box.exec("systemctl", "start", "pushrod-wal.timer")


def test_nothing_of_a_hostile_vault_runs_or_is_more_than_a_file(returned: Returned, town: Town) -> None:
    """The app comes back, from its commit: what was sealed with its release there stays in the vault."""
    assert "lost: release" in returned.output, returned.output
    kept: Any = town.inspect("lost-kept")
    assert (kept["HostConfig"]["Privileged"], kept["HostConfig"]["CapDrop"]) == (False, ["ALL"])
    assert not [m for m in kept["Mounts"] if m["Source"] in ("/", "/host")]
    web: Any = town.inspect(town.container("lost"))
    assert not web["HostConfig"]["Privileged"]
    box, place = town.box, f"{ROOT}/apps/lost"
    assert box.exec("test", "-e", MARK, check=False).status == 1
    links = box.exec(
        "find", place, "-name", "*.git", "-prune", "-o", "-type", "l", "-printf", "%p %l\n"
    ).stdout
    assert [line.split("/")[-1] for line in links.splitlines() if "/state/live" not in line] == [], links
    odd = (
        "-not",
        "-type",
        "f",
        "-not",
        "-type",
        "d",
        "-not",
        "-type",
        "l",
        "-o",
        "-perm",
        "/6000",
        "-type",
        "f",
    )
    assert box.exec("find", place, *odd).stdout == ""
    hooks = box.exec("ls", f"{place}/repo.git/hooks").stdout.split()
    assert sorted(hooks) == ["pre-receive", "proc-receive"]
    for config in ("repo.git/config", "state/.git/config"):
        assert "fsmonitor" not in box.get(f"{place}/{config}").decode()
    assert box.exec("test", "-e", f"{place}/repo.git/objects/info/alternates", check=False).status == 1
    assert box.exec("test", "-e", f"{ROOT}/edge/certificates/victim", check=False).status == 1
    assert "files of the copy were not taken" in returned.output
    releases = json.loads(town.ground.pushrod("releases", "--app", "lost", "--json").stdout)
    rolled = town.ground.pushrod("rollback", "--app", "lost", check=False)
    assert rolled.status == 12 and "has no release before" in rolled.stderr, (rolled, releases)


def test_the_owner_sees_the_grants_that_came_and_no_others_came(returned: Returned, town: Town) -> None:
    assert "it may have, as on the lost machine: NET_ADMIN (" in returned.output
    assert json.loads(town.box.get(f"{ROOT}/apps/lost/app.json"))["allowed"] == ["NET_ADMIN"]


def test_a_copy_that_does_not_fit_is_not_read(returned: Returned, town: Town) -> None:
    assert re.search(r"the copy cannot be read back: it needs 2\d\d MB", returned.output), returned.output
    assert town.box.exec("test", "-e", f"{ROOT}/apps/large", check=False).status == 1


def test_names_that_are_none_stop_nobody_elses_restore(returned: Returned) -> None:
    assert returned.status != 0
    for name in ("../victim", "Lost", "lost;id"):
        assert f"`{name}` cannot be an app's name" in returned.output, returned.output
    assert "there is such an app already" in returned.output  # the victim, for which there is a copy, too


def test_a_log_that_names_other_files_is_not_used(returned: Returned, town: Town) -> None:
    assert "the log of db is not used: " in returned.output
    assert town.box.exec("test", "-e", f"{ROOT}/apps/lost/wal/db", check=False).status == 1

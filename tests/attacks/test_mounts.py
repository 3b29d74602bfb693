"""What a container mounts: nobody can redirect it, and its content is useless to other accounts of the machine."""

import json
from collections.abc import Mapping, Sequence

import pytest

from devtools.apps import eventually
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town
from tests.conftest import spread

pytestmark = pytest.mark.lab

NOBODY = "nobody"

# For each of these mounts that exists: replaces each directory in it by a link to the host's root.
SWAP = """\
import os, threading, time

def swap(path):
    try:
        os.rename(path, path + ".real")
        os.symlink("/", path)
        print("swapped", path, flush=True)
    except OSError as e:
        print("not swapped", path, e, flush=True)

for top in ("/m1", "/m2", "/m3", "/m4", "/m4/b", "/m4/d"):
    for name in ("x", "b", "d"):
        if os.path.isdir(f"{top}/{name}"):
            swap(f"{top}/{name}")
print("done", flush=True)

"""
# The same for one, back and forth without pause.
RACE = """\
import os, threading

def race():
    os.makedirs("/d/x", exist_ok=True)
    os.symlink("/", "/d/link")
    print("done", flush=True)
    while True:
        for old, new in (("x", "real"), ("link", "x"), ("x", "link"), ("real", "x")):
            try:
                os.rename(f"/d/{old}", f"/d/{new}")
            except OSError:
                pass

threading.Thread(target=race, daemon=True).start()

"""
WORKER = """\
  {name}:
    image: python:3.13-slim
    volumes: ["{source}:/x"]
    command: [sleep, infinity]
    stop_grace_period: 0s
"""


def workers(**sources: str) -> str:
    return "".join(WORKER.format(name=name, source=source) for name, source in sources.items())


def sees_the_host(town: Town, service: str) -> bool:
    """Whether a container has found the host's files where it mounts its own."""
    name = town.container("attacker", service)
    done = town.box.exec("docker", "exec", name, "test", "-e", "/x/var/lib/pushrod", check=False)
    return done.status == 0


def printed(town: Town, word: str) -> bool:
    return word in town.box.docker("logs", town.container("attacker"))


@pytest.mark.parametrize(
    ("mounts", "others"),
    [
        (("./a:/m1", "./deep/link:/m2"), {"w1": "./b/x", "w2": "./deep/../b/x"}),
        (("./d:/m3", ".:/m4"), {"w1": "./b/x", "w2": "./d/x", "w3": "./deep/link/x", "w4": "./a/none"}),
    ],
    ids=["links", "nested"],
)
def test_a_container_cannot_redirect_a_mount_below_its_own(
    town: Town, attacker: Attacker, mounts: Sequence[str], others: Mapping[str, str]
) -> None:
    """By a link in the commit, one in the middle of a path, `..`, what Git does not track, and the whole code."""
    path = attacker.tree.path
    (path / "a").symlink_to("b")
    (path / "deep").mkdir()
    (path / "deep" / "link").symlink_to("../b")
    manifest = f"{MANIFEST}    user: '0'\n    volumes: {json.dumps(mounts)}\n{workers(**others)}"
    tree = {"app.py": SWAP + PROGRAM, "compose.yaml": manifest, "b/x/keep": "keep"}
    done = attacker.pushes(tree)
    assert done.ok, done.err
    eventually(lambda: printed(town, "done"), "it has tried", 20)
    town.box.docker("restart", *(town.container("attacker", service) for service in others))
    assert [service for service in others if sees_the_host(town, service)] == []


def test_a_race_of_the_previous_release_does_not_redirect_a_mount(town: Town, attacker: Attacker) -> None:
    mounts = '    volumes: ["./d:/d"]\n'
    done = attacker.pushes({"app.py": RACE + PROGRAM, "compose.yaml": MANIFEST + mounts})
    assert done.ok, done.err
    eventually(lambda: printed(town, "done"), "it swaps", 20)
    others = workers(**{f"w{n}": "./d/x" for n in range(4)})
    done = attacker.pushes({"app.py": PROGRAM, "compose.yaml": MANIFEST + others})
    assert done.ok, done.err
    assert [n for n in range(4) if sees_the_host(town, f"w{n}")] == []


BOUND = f"""{MANIFEST}    user: "0"
    volumes: ["/srv/media:/d"]
  w:
    image: python:3.13-slim
    command: [sleep, infinity]
    stop_grace_period: 0s
    x-pushrod: {{role: ROLE}}
    volumes: ["media:/x"]
volumes: {{media: {{driver_opts: {{type: none, o: bind, device: /srv/media/x}}}}}}
"""


@pytest.mark.parametrize("role", ["worker", "store"])
def test_a_volume_below_a_writable_mount_is_refused(town: Town, attacker: Attacker, role: str) -> None:
    """Both are below a path that the host's owner has allowed: Docker resolves a volume's path at each start."""
    town.box.exec("mkdir", "-p", "/srv/media/x")
    town.ground.pushrod("apps", "allow", "attacker", "/srv/media")
    try:
        refusal = attacker.refused({"compose.yaml": BOUND.replace("ROLE", role)})
        assert "mounts /srv/media/x, and the service web may write above that path" in refusal.what
        assert not town.container("attacker", "w")
    finally:
        town.ground.pushrod("apps", "allow", "attacker", "--remove", "/srv/media")


@pytest.mark.parametrize(
    ("link", "keys", "files"),
    [
        ("conf", '    volumes: ["./conf:/x"]\n', {}),
        ("conf", '    volumes: ["./conf/apps:/x"]\n', {}),
        ("conf", "    configs: [c]\nconfigs: {c: {file: ./conf/host.json}}\n", {}),
        ("conf", "    secrets: [c]\nsecrets: {c: {file: ./conf/host.json}}\n", {}),
        ("conf", "    env_file: ./conf/host.json\n", {}),
        ("conf", "    label_file: ./conf/host.json\n", {}),
    ],
)
def test_a_directory_replaced_by_a_link_in_the_commit_is_refused(
    attacker: Attacker, link: str, keys: str, files: Mapping[str, str]
) -> None:
    (attacker.tree.path / link).symlink_to("/var/lib/pushrod")
    result = attacker.refused({"compose.yaml": MANIFEST + keys, **files})
    assert "conf" in f"{result.what} {result.where}"


FIRST = """\
import os

with open("/d/one", "w") as f:
    f.write("mine")
os.chmod("/d", 0o700)
os.chown("/d", 1234, 1234)

"""


@pytest.mark.long
def test_nested_data_of_an_older_version_is_adopted(town: Town, attacker: Attacker) -> None:
    """Including data of an account of a container, and for the release that was sealed with the old path."""
    box, data = town.box, f"{attacker.directory}/data"
    manifest = MANIFEST + '    user: "0"\n    volumes: ["./media/photos:/d"]\n'
    done = attacker.pushes({"app.py": FIRST + PROGRAM, "compose.yaml": manifest})
    assert done.ok, done.err
    file = f"{attacker.directory}/state/releases/{attacker.live}/compose.yaml"
    older = f"mkdir {data}/media; mv {data}/media%2Fphotos {data}/media/photos"
    box.exec("sh", "-euc", f"{older}; sed --in-place s,media%2Fphotos,media/photos, {file}")
    box.docker("rm", "--force", town.container("attacker"))
    up = ("/usr/bin/python3", "-I", "-S", "/var/lib/pushrod/programs/bring_up.py", "up", "/var/lib/pushrod")
    box.exec(*up, "attacker", user="pushrod")
    assert _mounts_at(town, "/d") == f"{data}/media/photos"
    assert "data/media/photos of attacker" in town.ground.pushrod("host", "init").stdout
    box.docker("restart", town.container("attacker"))
    assert box.docker("exec", town.container("attacker"), "cat", "/d/one") == "mine"
    done = attacker.pushes({"app.py": PROGRAM, "compose.yaml": manifest})
    assert done.ok, done.err
    assert box.docker("exec", town.container("attacker"), "cat", "/d/one") == "mine"
    assert _mounts_at(town, "/d") == f"{data}/media%2Fphotos"


def _mounts_at(town: Town, target: str) -> str:
    """The source that a container of the app mounts there."""
    shown = "{{range .Mounts}}{{.Destination}} {{.Source}}\n{{end}}"
    listed = town.box.docker("inspect", f"--format={shown}", town.container("attacker"))
    return dict(line.split(" ", 1) for line in listed.split("\n") if line)[target]


# ---- another account of the machine --------------------------------------------------------------------------------

SETUID = """\
import os, shutil

for path in ("/d/sh", "/kept/sh"):
    shutil.copy("/bin/dash", path)
    os.chown(path, 0, 0)
    os.chmod(path, 0o4755)

"""


def test_a_setuid_file_of_a_container_is_of_no_use_to_a_local_account(town: Town, attacker: Attacker) -> None:
    mounts = '    volumes: ["./d2:/d", "kept:/kept"]\nvolumes: {kept: {}}\n'
    root = 'FROM python:3.13-slim\nWORKDIR /app\nCOPY app.py .\nEXPOSE 8080\nCMD ["python", "app.py"]\n'
    tree = {"app.py": SETUID + PROGRAM, "Dockerfile": root, "compose.yaml": MANIFEST + mounts}
    done = attacker.pushes(tree)
    assert done.ok, done.err
    places = ("/var/lib/pushrod", "/var/lib/docker/volumes")
    listed = town.box.exec("find", *places, "-perm", "-4000", "-name", "sh").stdout.split()
    assert len(listed) == 2
    # In both cases root still resolves the path, so not even a closed directory is in the way.
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for path in listed:
        for argv, user in (((path,), NOBODY), ((*as_nobody, path), "root")):
            tried = town.box.exec(*argv, "-p", "-c", "id; head -1 /etc/shadow", user=user, check=False)
            assert tried.status != 0, tried.stdout
            assert "euid=0" not in tried.stdout
    assert town.box.exec("sh", "-c", f"{listed[0]} -p -c id", user=NOBODY, check=False).status == 126


def test_a_local_account_can_neither_read_nor_lock_anything(town: Town) -> None:
    """Nor can one block the next command."""
    box, apps = town.box, "/var/lib/pushrod/apps"
    lock = ("flock", "--nonblock", f"{apps}/victim/lock", "true")
    for argv in (
        *(("ls", place) for place in ("/var/lib/pushrod", apps, f"{apps}/victim/data", "/run/pushrod")),
        ("cat", f"{apps}/victim/app.json"),
        ("cat", f"{apps}/victim/journal"),
        ("cat", "/var/lib/pushrod/edge/current/sites.json"),
        ("ls", "/var/lib/pushrod/edge/static"),
        ("ls", "/var/lib/pushrod/edge/logs"),
        ("ls", "/run/pushrod/victim"),
        ("docker", "ps"),
        lock,
    ):
        done = box.exec(*argv, user=NOBODY, check=False)
        assert done.status != 0, argv
        assert "ermission denied" in done.stdout + done.stderr, (argv, done.stderr)
    assert box.exec(*lock).status == 0
    assert "closed to the other accounts" in town.ground.pushrod("doctor").stdout


# ---- volumes of before ------------------------------------------------------------------------------------------

OLD = {
    "instance": MANIFEST + "    volumes: ['data:/d']\nvolumes: {data: {}}\n",
    "store": MANIFEST + "  kept: {image: 'valkey/valkey:9', volumes: ['data:/data']}\nvolumes: {data: {}}\n",
}


@pytest.mark.parametrize("kind", spread(OLD, 1))
def test_an_existing_volume_on_a_host_resource_is_refused(town: Town, attacker: Attacker, kind: str) -> None:
    """Docker takes the volume that is there, whatever a manifest says of it now."""
    made = ("--opt=type=proc", "--opt=device=proc", "--opt=o=rw", "attacker_data")
    town.box.docker("volume", "create", "--label=pushrod.app=attacker", *made)
    try:
        done = attacker.pushes({"compose.yaml": OLD[kind]})
        assert not done.ok
        assert "the volume attacker_data mounts a resource of the host (proc)" in done.err
        assert "docker volume rm attacker_data" in done.err
        mounted = town.box.docker("ps", "--quiet", "--filter=volume=attacker_data")
        assert mounted.strip() == ""
    finally:
        town.recover()
        town.box.exec("docker", "volume", "rm", "attacker_data", check=False)

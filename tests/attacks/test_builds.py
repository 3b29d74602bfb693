"""What a build may reach: the commit, the external network, and what the same app has built before."""

import time
from collections.abc import Iterator

import pytest

from devtools.lab.ground import DOCKERFILE
from pushrod.provisioning import shares
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Party, Town

pytestmark = pytest.mark.lab

RUNTIME = "/var/lib/pushrod/run/builders"
REACH = """\
import socket, sys
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        print("reached", target)
    except ConnectionRefusedError:
        print("reached", target, "which says no")
    except OSError as e:
        print("not", target, e)
"""
FORKS = """\
import os, time
count = 0
try:
    while count < 6000:
        if os.fork() == 0:
            time.sleep(10)
            os._exit(0)
        count += 1
except OSError:
    pass
open("/count", "w").write(str(count))
"""


def built(*steps: str) -> str:
    """A Dockerfile of the attacker's app with additional steps."""
    return DOCKERFILE.replace("USER nobody", "\n".join([*steps, "USER nobody"]))


def addresses(town: Town, app: str, service: str) -> list[str]:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    return town.box.docker("inspect", f"--format={template}", town.container(app, service)).split()


def targets(town: Town) -> list[str]:
    """What a build must not reach, as `HOST:PORT`: the victim's, the host's, and the cloud's."""
    stores = [(a, p) for s, p in (("postgres", 5432), ("redis", 6379)) for a in addresses(town, "victim", s)]
    gateways = town.box.docker("network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", "bridge")
    return [
        *(f"{address}:{port}" for address, port in stores),
        *(f"{address}:8080" for address in addresses(town, "victim", "web")),
        *(f"{town.box.address}:{port}" for port in (22, 80)),
        *(f"{gateways}:{port}" for port in (22, 80)),
        *("127.0.0.1:80", "169.254.169.254:80"),
    ]


def inside(town: Town, app: str, path: str) -> str:
    """A file in the image of an app's live release."""
    return town.box.docker("exec", town.container(app), "cat", path)


# ---- the network --------------------------------------------------------------------------------------------


def test_add_cannot_fetch_from_an_app_or_the_host(town: Town, attacker: Attacker, victim: Party) -> None:
    targets = [f"{addresses(town, 'victim', 'web')[0]}:8080", "127.0.0.1:80", f"{town.box.address}:80"]
    for target in targets:
        result = attacker.refused({"Dockerfile": built(f"ADD http://{target}/healthz /stolen")})
        assert "permission denied" in result.what or "connection refused" in result.what, result


@pytest.mark.parametrize("option", ["", "--network=host "])
def test_a_build_step_reaches_no_app_no_store_and_not_the_host(
    town: Town, attacker: Attacker, victim: Party, option: str
) -> None:
    """Not even in the network that is the host's for a builder, if it is let in there."""
    tried = targets(town)
    step = f"RUN {option}python /reach.py {' '.join(tried)} >/reached && cat /proc/net/unix >/sockets && "
    step += "cat /proc/self/status >/rights"
    tree = {"Dockerfile": built("COPY reach.py /", step), "reach.py": REACH}
    done = attacker.pushes(tree)
    if option and "network.host is not allowed" in done.err:
        return
    assert done.ok, done.err
    output = inside(town, "attacker", "/reached").splitlines()
    assert len(output) == len(tried)
    for line in output:
        # It shares only the loopback addresses with the host.
        assert line.startswith("not") or "127.0.0.1" in line, output
    rights = dict(line.split(":\t", 1) for line in inside(town, "attacker", "/rights").splitlines())
    assert (rights["Seccomp"], rights["CapEff"]) == ("2", "00000000a80425fb")  # as in any container
    assert "@" not in inside(town, "attacker", "/sockets")  # the engine's are files, invisible to steps


def test_the_builder_does_not_start_without_the_hosts_rules(town: Town, attacker: Attacker) -> None:
    town.box.exec("docker", "stop", "pushrod.builder.attacker", check=False)
    town.box.exec("iptables", "--table=mangle", "--flush", "PUSHROD-BUILDS")
    try:
        result = attacker.refused({"Dockerfile": built("RUN true")})
        assert "its rules are not in place" in result.what
        assert "pushrod-builds" in result.to_do
    finally:
        town.box.exec("systemctl", "restart", "pushrod-builds")
    attacker.reset()
    done = attacker.pushes({"Dockerfile": built("RUN true")})
    assert done.ok, done.err


# ---- frontends ----------------------------------------------------------------------------------------------

TRIES = """\
import os, sys
sys.stdout = sys.stderr  # the other is the engine's
print("begun", os.getuid())
print(open("/proc/self/status").read())
for path in ("/builder", "/builder/docker.sock", "/run/docker", "/run/containerd", "/var/lib/docker"):
    print("has" if os.path.exists(path) else "lacks", path)
for name in os.environ:
    print("variable", name)
exec(open("/reach.py").read())
print("done")
"""


def test_a_frontend_of_ones_own_is_run_only_where_it_is_allowed_and_reaches_nothing(
    town: Town, attacker: Attacker
) -> None:
    """It is a program that the builder starts in place of what reads a Dockerfile, with the engine on its streams.

    It has no network: the builder has none for one whose image does not say that it needs none, as Docker's own does.
    """
    words = ", ".join(f'"{word}"' for word in ("python", "/tries.py", *targets(town)))
    made = f"FROM python:3.13-slim\nCOPY reach.py tries.py /\nENTRYPOINT [{words}]\n"
    quiet = f"{made}LABEL moby.buildkit.frontend.network.none=true\n"
    for name, text in (("Dockerfile", made), ("quiet", quiet), ("reach.py", REACH), ("tries.py", TRIES)):
        town.box.put(f"/run/hostile/{name}", text.encode())
    tree = {"Dockerfile": "# syntax=hostile/frontend\n" + built("RUN true")}
    result = attacker.refused(tree)
    assert "its frontend `hostile/frontend` is not Docker's own" in result.what
    town.ground.pushrod("apps", "allow", "attacker", "frontend")
    try:
        for file, why in (("Dockerfile", "network"), ("quiet", "no result")):
            town.box.docker("build", "--tag=hostile/frontend", f"--file=/run/hostile/{file}", "/run/hostile")
            attacker.reset()
            assert why in attacker.refused(tree).what
        seen = town.box.exec("sh", "-c", "docker logs pushrod.builder.attacker 2>&1").stdout
    finally:
        town.ground.pushrod("apps", "allow", "attacker", "frontend", "--remove", check=False)
        town.box.docker("image", "rm", "hostile/frontend")
    lines = seen[seen.index("begun") : seen.index("done")].splitlines()
    assert not [line for line in lines if line.startswith(("has ", "reached")) and "127.0.0.1" not in line]
    assert "CapEff:\t00000000a80425fb" in lines
    assert "Seccomp:\t2" in lines


# ---- caches -------------------------------------------------------------------------------------------------

SHARED = built(
    'RUN echo "by $http_proxy" >/origin',
    "RUN --mount=type=cache,id=shared,target=/kept ls /kept >/seen && echo here >/kept/attacker",
    "RUN cat /origin /seen >/both",
)


@pytest.fixture
def neighbour(town: Town) -> Iterator[Party]:
    """A third app, not pushed yet."""
    tree = {
        "app.py": PROGRAM,
        "Dockerfile": SHARED,
        "compose.yaml": MANIFEST.replace("attacker", "neighbour"),
    }
    yield Party(town.ground, "neighbour", tree)
    town.ground.pushrod("apps", "destroy", "neighbour", "--yes")
    assert "pushrod.builder.neighbour" not in town.box.docker("volume", "ls", "--quiet").split()


def test_the_build_cache_of_one_app_is_not_used_by_another(
    town: Town, attacker: Attacker, neighbour: Party
) -> None:
    """Neither the proxy nor the content of a cache mount is part of a layer's identity."""
    poison = MANIFEST.replace("build: .", "build: {context: ., args: {http_proxy: 'http://poison'}}")
    done = attacker.pushes({"Dockerfile": SHARED, "compose.yaml": poison})
    assert done.ok, done.err
    assert inside(town, "attacker", "/both") == "by http://poison"
    done = neighbour.push()
    assert done.ok, done.err
    assert inside(town, "neighbour", "/both").strip() == "by"


# ---- images -------------------------------------------------------------------------------------------------


def test_an_image_of_another_app_cannot_be_used(town: Town, attacker: Attacker, victim: Party) -> None:
    name = town.box.docker("inspect", "--format={{.Config.Image}}", town.container("victim"))
    identity = town.box.docker("image", "inspect", "--format={{.Id}}", name)
    digits = identity.partition(":")[2]
    assert name.startswith("pushrod/victim/")
    for reference in (digits[:4], digits[:12], digits, identity, name, f"docker.io/{name}"):
        service = MANIFEST + f'  other: {{image: "{reference}", command: [sleep, "9"]}}\n'
        argued = MANIFEST.replace("build: .", f'build: {{context: ., args: {{FROM: "{reference}"}}}}')
        contexts = MANIFEST.replace(
            "build: .", f'build: {{context: ., additional_contexts: {{x: "docker-image://{reference}"}}}}'
        )
        trees = [
            {"compose.yaml": service},
            {"compose.yaml": contexts},
            {"compose.yaml": argued, "Dockerfile": "ARG FROM\nFROM $FROM\n"},
            *(
                {"Dockerfile": text}
                for text in (
                    f"FROM {reference}\n",
                    built(f"COPY --from={reference} /app /stolen"),
                    built(f"RUN --mount=type=bind,from={reference},target=/x cp -r /x/app /stolen"),
                    f"# syntax={reference}\n{DOCKERFILE}",
                )
            ),
        ]
        for tree in trees if reference in (digits[:12], name) else trees[:1]:
            attacker.reset()
            result = attacker.refused(tree)
            reasons = ("is an image ID", "is reserved by pushrod", "is not Docker's own")
            assert any(words in result.what for words in reasons), tree
            assert result.where


def test_a_docker_option_is_not_accepted_as_an_image_name(attacker: Attacker) -> None:
    for word in ("--help", "-q", "--format={{.Id}}", "--config=/x", "-"):
        result = attacker.refused(
            {"compose.yaml": f"services: {{web: {{image: '{word}', ports: ['80']}}}}\n"}
        )
        assert result.where == "services.web.image"


def test_a_builder_has_no_image_of_another_app(town: Town, attacker: Attacker, victim: Party) -> None:
    """Whatever a Dockerfile names, and however it is parsed: the builder has nothing else."""
    done = attacker.pushes({"Dockerfile": built("RUN echo once more")})
    assert done.ok, done.err
    name = town.box.docker("inspect", "--format={{.Config.Image}}", town.container("victim"))
    identity = town.box.docker("image", "inspect", "--format={{.Id}}", name)
    engine = f"--host=unix://{RUNTIME}/attacker/docker.sock"
    for reference in (name, identity, identity.partition(":")[2][:12]):
        assert town.box.exec("docker", engine, "image", "inspect", reference, check=False).status != 0
    named = town.box.docker(engine, "image", "ls", "--format={{.Repository}}").split()
    assert set(named) <= {"python", "<none>", "hostile/frontend"}  # the last is of a test before


# ---- resources ----------------------------------------------------------------------------------------------

SQUARED = "ARG A=" + "x" * 1000 + "\n" + "".join(f"ARG {b}={f'${a}' * 100}\n" for a, b in ("AB", "BC", "CD"))
"""Less than 2 KB for a gigabyte in D."""
DOUBLING = "FROM python:3.13-slim AS s0\nRUN pip install -r a.txt\n" + "".join(
    f"FROM python:3.13-slim AS s{n}\n" + f"COPY --from=s{n - 1} /a /a\n" * 2 for n in range(1, 40)
)
EXPANDING = {
    "a variable": built(SQUARED),
    "before the first stage": f"{SQUARED}FROM $D\n",
    "a label": built(SQUARED.replace("ARG D=", "LABEL d=")),
    "the environment": built(SQUARED.replace("ARG", "ENV")),
    "an image": built(SQUARED, "COPY --from=$D /a /a"),
}


@pytest.mark.long
def test_a_dockerfile_that_expands_is_refused_before_it_does(town: Town, attacker: Attacker) -> None:
    """In the memory of the pusher's call, and of the app's builder, which never sees it."""
    peak = f"/sys/fs/cgroup/memory/pushrodgate.slice/{shares.unit('attacker')}/memory.max_usage_in_bytes"
    for kind, text in EXPANDING.items():
        attacker.reset()
        town.box.exec("tee", peak, stdin="0", check=False)  # there is none before the first call
        result = attacker.refused({"Dockerfile": text})
        assert "more than 256 KiB" in result.what and result.where.startswith("Dockerfile"), (kind, result)
        assert int(town.box.get(peak)) < 400 << 20, kind
    attacker.reset()
    began = time.monotonic()
    attacker.refused({"Dockerfile": DOUBLING})
    assert int(town.box.get(peak)) < 400 << 20
    assert time.monotonic() - began < 60


def test_a_fork_bomb_in_a_build_is_stopped_without_affecting_others(
    town: Town, attacker: Attacker, victim: Party
) -> None:
    tree = {"Dockerfile": built("COPY forks.py /", "RUN python /forks.py"), "forks.py": FORKS}
    attacker.live_commit = attacker.tree.commit(tree, "forks")
    push = attacker.pushing()
    while push.child.poll() is None:
        assert victim.get("/healthz").status == 200
    done = push.done()
    assert done.ok, done.err
    assert 1000 < int(inside(town, "attacker", "/count")) < 2100

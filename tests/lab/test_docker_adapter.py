"""The Docker adapter with a real engine. Everything made has a name of the lab's, and is removed."""

import io
import os
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.lab import images
from pushrod.adapters import docker
from pushrod.core.errors import BuildError, HostError, StoreError
from pushrod.stores.volumes import Volumes
from pushrod.system import processes, waits
from tests.conftest import needs_lab

pytestmark = pytest.mark.lab
PYTHON = "python:3.13-slim"


@pytest.fixture(scope="module")
def lab() -> Iterator[str]:
    """A word in the names of everything this module makes, by which it is removed at the end."""
    needs_lab(images.problem())
    word = f"pushrod-lab-{uuid.uuid4().hex[:8]}"
    yield word
    labels = {docker.APP: word}
    docker.remove([c.name for c in docker.containers(labels)])
    for network in docker.networks(labels):
        docker.remove_network(network)
    docker.remove_volumes(docker.volumes(labels))
    for name in docker.tags(word):
        docker.untag(name)
    docker.prune_images(word)
    assert not [
        *docker.containers(labels),
        *docker.networks(labels),
        *docker.volumes(labels),
        *docker.tags(word),
    ]


def build(lab: str, directory: Path, dockerfile: str, name: str = "made", **changes: object) -> list[str]:
    (directory / "Dockerfile").write_text(dockerfile)
    lines: list[str] = []
    given: dict[str, object] = {
        "dockerfile": directory / "Dockerfile",
        "labels": {docker.APP: lab, docker.REVISION: "abc"},
        "arguments": {},
        "target": "",
        "at": Path("/var/run/docker.sock"),
        "where": "backend/Dockerfile",
        "on_line": lines.append,
    }
    docker.tag(docker.build(directory, **(given | changes)), f"{lab}/{name}:1")  # type: ignore[arg-type]
    return lines


def start(lab: str, name: str, *argv: str, **options: str) -> str:
    """Start a container of the lab."""
    words = [word for key, value in options.items() for word in (f"--{key}", value)]
    called = f"{lab}-{name}"
    labels = ["--label", f"{docker.APP}={lab}", "--label", f"{docker.SERVICE}={name}"]
    docker.docker("run", "--detach", "--name", called, *labels, *words, PYTHON, *argv)
    return called


# ---- builds -------------------------------------------------------------------------------------------------


def test_an_image_is_built_with_its_labels_arguments_and_stage(lab: str, tmp_path: Path) -> None:
    text = f"""
FROM {PYTHON} AS first
ARG WHAT
ARG API_TOKEN
ARG LD_PRELOAD
ENV SEEN="$WHAT $API_TOKEN"
FROM first AS second
ENV SEEN=other
"""
    arguments = {"WHAT": "a b", "API_TOKEN": "s3cret", "LD_PRELOAD": "/nonexistent.so", "UNSET": None}
    build(lab, tmp_path, text, target="first", arguments=arguments)
    result = docker.image(f"{lab}/made:1")
    assert result
    assert "SEEN=a b s3cret" in result["Config"]["Env"]
    assert result["Config"]["Labels"][docker.REVISION] == "abc"
    assert docker.tags(lab) == [f"{lab}/made:1"]
    docker.untag(f"{lab}/made:1")
    assert docker.image(f"{lab}/made:1") is None
    docker.untag(f"{lab}/made:1")


def test_arguments_cannot_change_dockers_own_program(
    lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run(argv: list[str], **given: object) -> processes.Completed:
        seen.append((argv, dict(given["env"])))  # type: ignore[call-overload]
        if "--iidfile" in argv:
            Path(argv[argv.index("--iidfile") + 1]).write_text("sha256:1")
        return processes.Completed(0, "", "")

    monkeypatch.setattr(processes, "run", run)
    arguments = {
        "LD_PRELOAD": "x",
        "DOCKER_CONFIG": "x",
        "GIT_SSH_COMMAND": "x",
        "PATH": "x",
        "NPM_TOKEN": "s3cret",
    }
    build(lab, tmp_path, "FROM x", arguments=arguments)
    (argv, variables), *_ = seen
    assert variables["NPM_TOKEN"] == "s3cret"
    assert variables.get("PATH") == os.environ.get("PATH")
    assert not {"LD_PRELOAD", "DOCKER_CONFIG", "GIT_SSH_COMMAND"} & variables.keys() - os.environ.keys()
    assert "s3cret" not in " ".join(argv)


def test_a_failed_build_is_reported_with_its_place_and_output(lab: str, tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(BuildError, match="could not be built") as caught:
        build(lab, tmp_path, f"FROM {PYTHON}\nRUN echo the-reason && exit 3\n", on_line=lines.append)
    assert caught.value.exit_code == 5
    assert caught.value.where == "backend/Dockerfile"
    assert any("the-reason" in line for line in lines)


def test_docker_messages_printed_by_build_steps_do_not_hide_the_failed_build(
    lab: str, tmp_path: Path
) -> None:
    steps = "echo Cannot connect to the Docker daemon; for i in 1 2 3 4 5 6 7; do echo $i; done; exit 3"
    with pytest.raises(BuildError):
        build(lab, tmp_path, f"FROM {PYTHON}\nRUN {steps}\n")


def test_an_image_that_cannot_be_pulled_is_reported(lab: str) -> None:
    began = time.monotonic()
    with pytest.raises(BuildError, match="cannot be pulled") as caught:
        docker.pull("127.0.0.1:9/pushrod-lab/none:1", print)
    assert caught.value.exit_code == 5
    assert "image load" in caught.value.hint
    assert time.monotonic() - began < 30


# ---- archives -----------------------------------------------------------------------------------------------


def test_an_archive_is_loaded(lab: str, tmp_path: Path) -> None:
    docker.tag(PYTHON, f"{lab}/saved:1")
    with (tmp_path / "archive").open("wb") as archive:
        subprocess.run(["docker", "save", f"{lab}/saved:1"], stdout=archive, check=True, timeout=120)
    docker.untag(f"{lab}/saved:1")
    with (tmp_path / "archive").open("rb") as archive:
        assert docker.load(archive, print) == [f"{lab}/saved:1"]
    assert docker.image(f"{lab}/saved:1")


@pytest.mark.parametrize("rubbish", [b"", b"rubbish" * 1000])
def test_an_invalid_archive_is_refused(lab: str, tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "x").write_bytes(rubbish)
    with (tmp_path / "x").open("rb") as archive, pytest.raises(BuildError, match="no image could be loaded"):
        docker.load(archive, print)


# ---- containers, networks, images ---------------------------------------------------------------------------


def test_the_properties_of_a_container_are_read(lab: str) -> None:
    name = start(
        lab, "checked", "python3", "-c", "import time; time.sleep(600)",
        **{"health-cmd": "true", "health-interval": "2s", "health-retries": "4"},
        **{"health-start-period": "7s", "stop-timeout": "1"},
    )  # fmt: skip
    (result,) = docker.containers({docker.APP: lab, docker.SERVICE: "checked"})
    assert (result.name, result.running, result.check) == (name, True, ("/bin/sh", "-c", "true"))
    assert (result.patience, result.grace) == (15.0, 1.0)
    assert result.health in ("starting", "healthy")
    assert list(result.networks) == ["bridge"]
    assert docker.execute(name, ["sh", "-c", "exit 3"]).status == 3
    docker.stop([result])
    (result,) = docker.inspect([name])
    assert (result.state, result.exit_code) == ("exited", 137)
    docker.remove([name])


def test_removed_containers_are_left_out(lab: str) -> None:
    name = start(lab, "there", "true")
    assert [c.name for c in docker.inspect([f"{lab}-gone", name])] == [name]
    assert docker.inspect([f"{lab}-gone"]) == []
    assert docker.inspect([]) == []
    docker.remove([name, f"{lab}-gone"])


def test_logs_have_both_streams_in_order_and_a_start_time(lab: str) -> None:
    script = "import sys\nfor i in range(5): print(i, file=[sys.stdout, sys.stderr][i % 2], flush=True)"
    name = start(lab, "talks", "python3", "-c", script)
    assert waits.wait_until(lambda: not docker.inspect([name])[0].running, timeout=20)
    assert sorted(docker.logs(name)) == ["0", "1", "2", "3", "4"]
    assert len(docker.logs(name, 2)) == 2
    stamped = docker.logs(name, times=True)
    at = sorted(line.partition(" ")[0] for line in stamped)[2]
    assert len(docker.logs(name, since=at)) == 3
    assert docker.logs(f"{lab}-gone") == []
    docker.remove([name])


def test_a_network_is_removed_with_connected_containers(lab: str) -> None:
    network = f"{lab}-net"
    docker.docker("network", "create", "--label", f"{docker.APP}={lab}", network)
    name = start(lab, "on-it", "sleep", "600", network=network)
    assert docker.networks({docker.APP: lab}) == [network]
    docker.remove_network(network)
    assert docker.networks({docker.APP: lab}) == []
    assert docker.inspect([name])[0].running
    docker.remove_network(network)
    docker.remove([name])


def test_volumes_are_created_and_removed(lab: str) -> None:
    docker.make_volume(f"{lab}_data", {docker.APP: lab}, {})
    docker.make_volume(f"{lab}_data", {docker.APP: lab}, {})
    assert docker.volumes({docker.APP: lab}) == [f"{lab}_data"]
    assert docker.has_volume(f"{lab}_data")
    assert not docker.has_volume(f"{lab}_dat")
    docker.remove_volumes([f"{lab}_data"])
    docker.remove_volumes([])


def test_only_images_of_the_app_are_pruned(lab: str, tmp_path: Path) -> None:
    for name, label in (("ours", lab), ("theirs", f"{lab}-other")):
        build(lab, tmp_path, f"FROM {PYTHON}\nENV X={name}\n", name, labels={docker.APP: label})
    before = {n: (docker.image(f"{lab}/{n}:1") or {})["Id"] for n in ("ours", "theirs")}
    for name, label in (("ours", lab), ("theirs", f"{lab}-other")):
        build(lab, tmp_path, f"FROM {PYTHON}\nENV X={name} Y=2\n", name, labels={docker.APP: label})
    assert before["ours"] != (docker.image(f"{lab}/ours:1") or {})["Id"]
    docker.prune_images(lab)
    assert docker.image(before["ours"]) is None
    assert docker.image(before["theirs"])
    docker.prune_images(f"{lab}-other")


# ---- no engine ----------------------------------------------------------------------------------------------


def test_an_engine_that_does_not_answer_is_reported(lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    for ask in (
        docker.answers,
        lambda: docker.containers({docker.APP: lab}),
        lambda: docker.inspect(["x"]),
        lambda: docker.image("x"),
        lambda: docker.pull("x", print),
        lambda: docker.remove_network("x"),
    ):
        with pytest.raises(HostError, match="does not answer") as caught:
            ask()
        assert caught.value.exit_code == 10
        assert "systemctl start docker" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_missing_rights_on_the_docker_socket_are_reported(lab: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = processes.run
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    monkeypatch.setattr(processes, "run", lambda argv, **given: run([*nobody, *argv], **given))
    for ask in (docker.answers, lambda: docker.containers({docker.APP: lab})):
        with pytest.raises(HostError, match="may not talk to the Docker engine") as caught:
            ask()
        assert caught.value.exit_code == 10
        assert "usermod" in caught.value.hint


@pytest.mark.parametrize("mode", ["freeze", "stop"])
def test_the_volumes_of_a_container_come_back_with_owners_modes_and_links(lab: str, mode: str) -> None:
    name = start(lab, mode, "sleep", "300", volume="/keep", **{"stop-signal": "KILL"})

    def run(script: str) -> str:
        return docker.docker("exec", name, "sh", "-c", f"cd /keep && {script}")

    long = "d" * 200
    run("mkdir deep && echo one >deep/file && ln deep/file hard && ln -s deep/file soft")
    run(f"mkdir {long} && echo x >{long}/{long}")
    run("chown 999 hard && chmod 640 hard && chmod 1770 deep && head -c 100000 /dev/urandom >big")
    there = "find . | sort | xargs stat -c '%n %a %u %h %F %s' && cat deep/file && sha256sum big"
    before, copy = run(there), io.BytesIO()
    volumes = Volumes("odd", name, mode)
    rows = volumes.save(copy)
    assert docker.inspect([name])[0].state == "running"
    assert volumes.rehearse(io.BytesIO(copy.getvalue())) == rows == {"files": 3}
    with pytest.raises(StoreError, match="damaged"):
        volumes.check(io.BytesIO(copy.getvalue()[:50_000]))
    run("rm -r deep hard && echo two >new && echo a >big && chmod 700 .")
    volumes.restore(io.BytesIO(copy.getvalue()), rows)
    assert run(there) == before


# Writes its files one after the other, so that whoever sees them at one moment sees at most one step. While the long
# one, between the others, is copied, many steps are written.
WRITER = """
import itertools, pathlib, signal
signal.signal(signal.SIGTERM, lambda *_: exit(0))
keep = pathlib.Path("/keep")
(keep / "104-long").write_bytes(bytes(32 << 20))
for number in itertools.count(1):
    for name in range(100, 110):
        (keep / "new").write_text(f"{number}")
        (keep / "new").rename(keep / f"{name}")
"""


@pytest.mark.parametrize("mode", ["freeze", "stop"])
def test_a_store_that_writes_is_copied_as_of_one_moment(lab: str, mode: str) -> None:
    volume = f"{lab}-writing-{mode}"
    docker.docker("volume", "create", "--label", f"{docker.APP}={lab}", volume)
    name = start(lab, f"writing-{mode}", "python", "-c", WRITER, volume=f"{volume}:/keep")

    def written() -> bool:
        argv = ["docker", "exec", name, "test", "-e", "/keep/109"]
        return processes.run(argv, env=docker.environment()).status == 0

    assert waits.wait_until(written, 60)
    out = io.BytesIO()
    Volumes("db", name, mode).save(out)
    assert docker.inspect([name])[0].state == "running"
    docker.remove([name])
    out.seek(0)
    texts: dict[str, bytes] = {}
    with tarfile.open(fileobj=out) as tar:
        for member in tar:
            if (file := tar.extractfile(member)) is not None:
                texts[Path(member.name).name] = file.read()
    numbers = [int(texts[str(each)]) for each in range(100, 110)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, numbers

"""The limit of what containers write outside their volumes."""

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from pushrod.engines.docker import layers

MIB = 1 << 20


def identity(name: str) -> str:
    """A container's full ID."""
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """An engine with two apps that records its calls."""
    calls: list[tuple[str, ...]] = []
    sizes = {"shop-r1-web-1": 200 * MIB, "shop-redis": 85 * MIB, "blog-r2-web-1": MIB}

    def docker(*argv: str, timeout: float) -> str:
        calls.append(argv)
        if argv[0] == "ps":
            return "".join(f"{name.partition('-')[0]} {name} {identity(name)}\n" for name in sizes)
        if argv[0] == "container":
            return "".join(f"/{name} {sizes[name]}\n" for name in argv if name in sizes)
        return ""

    monkeypatch.setattr(layers, "docker", docker)
    monkeypatch.setattr(layers, "_MEMORY", tmp_path / "layers.json")
    monkeypatch.setattr(layers, "_PROCESSES", tmp_path / "proc")
    for app in ("shop", "blog"):
        (tmp_path / "apps" / app).mkdir(parents=True)
    return calls


def test_excess_writes_stop_a_container_and_a_warning_is_logged_once(
    engine: list[tuple[str, ...]], tmp_path: Path
) -> None:
    assert layers.main([str(tmp_path), str(100 * MIB)]) == 0
    assert [argv for argv in engine if argv[0] in ("update", "stop")] == [
        ("update", "--restart=no", "shop-r1-web-1"),
        ("stop", "--time", "10", "shop-r1-web-1"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "apps/shop/watch.log").read_text().splitlines()]
    assert [(line["container"], line["did"].partition(";")[0]) for line in lines] == [
        ("shop-r1-web-1", "stopped"),
        ("shop-redis", "it will be stopped at 100 MiB"),
    ]
    assert not (tmp_path / "apps/blog/watch.log").exists()
    layers.main([str(tmp_path), str(100 * MIB)])
    output = (tmp_path / "apps/shop/watch.log").read_text()
    assert output.count("shop-redis") == 1


def process(
    place: Path, number: int, container: str, *, opened: tuple[BinaryIO, ...] = (), maps: str = ""
) -> None:
    """A process of a container, as in /proc."""
    directory = place / "proc" / str(number)
    (directory / "fd").mkdir(parents=True)
    (directory / "cgroup").write_text(f"0::/pushrod.slice/docker-{identity(container)}.scope\n")
    (directory / "maps").write_text(maps)
    (directory / "mountinfo").write_text(MOUNTS)
    (directory / "root").symlink_to(place)
    for descriptor, file in enumerate(opened):
        (directory / "fd" / str(descriptor)).symlink_to(f"/proc/self/fd/{file.fileno()}")


def stopped(engine: list[tuple[str, ...]]) -> list[str]:
    return [name for argv in engine if argv[0] == "stop" for name in argv[3:]]


def test_an_unlinked_open_file_is_counted_once(engine: list[tuple[str, ...]], tmp_path: Path) -> None:
    with (tmp_path / "taken away").open("wb") as file, (tmp_path / "there").open("wb") as named:
        os.posix_fallocate(file.fileno(), 0, 60 * MIB)
        os.posix_fallocate(named.fileno(), 0, 60 * MIB)
        (tmp_path / "taken away").unlink()
        process(tmp_path, 7, "blog-r2-web-1", opened=(file, file, named))
        process(tmp_path, 8, "blog-r2-web-1", opened=(file,))
        assert layers.main([str(tmp_path), str(300 * MIB)]) == 0
        assert stopped(engine) == []
        assert layers.main([str(tmp_path), str(60 * MIB)]) == 0
    assert "blog-r2-web-1" in stopped(engine)
    assert "has written 61 MiB" in (tmp_path / "apps/blog/watch.log").read_text()


MOUNTS = "1 0 0:42 / / rw - overlay overlay rw\n2 1 8:1 /x /data rw - ext4 /dev/sda1 rw\n"
MAPPED = "7f0000000000-7f0010000000 rw-s {} {} {} {}{}\n"


@pytest.mark.parametrize(
    ("offset", "device", "inode", "path", "gone", "counted"),
    [
        ("00000000", "08:01", "99", "/tmp/x", " (deleted)", True),
        ("00000000", "00:2a", "99", "/tmp/a b", " (deleted)", True),
        ("00000000", "08:01", "99", "/tmp/x", "", False),
        ("00000000", "08:01", "99", "/data/x", " (deleted)", False),
        ("00000000", "08:01", "99", "/database", " (deleted)", True),
        ("00000000", "00:01", "99", "/memfd:heap", " (deleted)", False),
        ("00000000", "00:05", "99", "/dev/zero", " (deleted)", False),
        ("00000000", "00:01", "99", "/SYSV00000000", " (deleted)", False),
        ("00000000", "00:00", "0", "", "", False),
    ],
)
def test_a_mapped_file_counts_with_its_mapped_size(
    engine: list[tuple[str, ...]],
    tmp_path: Path,
    offset: str,
    device: str,
    inode: str,
    path: str,
    gone: str,
    counted: bool,
) -> None:
    process(tmp_path, 7, "blog-r2-web-1", maps=MAPPED.format(offset, device, inode, path, gone) * 2)
    layers.main([str(tmp_path), str(250 * MIB)])
    assert stopped(engine) == (["blog-r2-web-1"] if counted else [])


def test_a_container_with_too_many_files_to_count_is_stopped_after_retries(
    engine: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure is not enough: the machine may have been busy."""
    there = layers.docker

    def slow(*argv: str, timeout: float) -> str:
        return "" if argv[0] == "container" and "blog-r2-web-1" in argv else there(*argv, timeout=timeout)

    monkeypatch.setattr(layers, "docker", slow)
    for _ in range(layers.PATIENCE - 1):
        layers.main([str(tmp_path), str(250 * MIB)])
    assert stopped(engine) == []
    layers.main([str(tmp_path), str(250 * MIB)])
    assert stopped(engine) == ["blog-r2-web-1"]
    assert "cannot be counted in 60 s" in (tmp_path / "apps/blog/watch.log").read_text()


def test_containers_are_stopped_with_one_command(engine: list[tuple[str, ...]], tmp_path: Path) -> None:
    layers.main([str(tmp_path), str(50 * MIB)])
    assert [len(argv[3:]) for argv in engine if argv[0] == "stop"] == [2]


def test_an_engine_that_does_not_answer_is_queried_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layers, "docker", lambda *_argv, timeout: "")
    monkeypatch.setattr(layers, "_MEMORY", tmp_path / "layers.json")
    assert layers.main([str(tmp_path), "1"]) == 0

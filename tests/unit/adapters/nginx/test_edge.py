"""The edge's files and messages, without a running nginx; the rest is in tests/integration."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from pushrod.adapters.nginx import Edge, Switch, rotation, start
from pushrod.core.errors import EdgeError, HostError, StateError
from pushrod.core.site import Site
from pushrod.system import files


def program(path: Path, printed: str) -> Path:
    """A program that reports a version as nginx does, and accepts every configuration."""
    path.write_text(f"#!/bin/sh\necho '{printed}' >&2\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def runtime() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


@pytest.fixture
def edge(tmp_path: Path, runtime: Path) -> Edge:
    return Edge(program(tmp_path / "nginx", "nginx version: nginx/1.31.3"), tmp_path / "edge", runtime)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("nginx version: nginx/1.31.3", (1, 31, 3)),
        ("nginx version: nginx/1.22.1 (Ubuntu)", (1, 22, 1)),
        ("nginx version: openresty/1.27.1.2", (1, 27, 1)),
        ("nginx version: nginx/1.30.0\nbuilt by gcc 14.2.0 (Alpine 14.2.0)", (1, 30, 0)),
    ],
)
def test_the_version_of_nginx_is_read(
    tmp_path: Path, runtime: Path, printed: str, version: tuple[int, ...]
) -> None:
    assert Edge(program(tmp_path / "nginx", printed), tmp_path, runtime).version == version


def test_a_program_other_than_nginx_is_refused(tmp_path: Path, runtime: Path) -> None:
    with pytest.raises(HostError, match="does not report an nginx version"):
        _ = Edge(program(tmp_path / "nginx", "hello"), tmp_path, runtime).version


@pytest.mark.parametrize(("version", "known"), [("1.27.4", True), ("1.27.3", False), ("1.22.1", False)])
def test_keepalive_min_timeout_is_set_only_if_the_version_supports_it(
    tmp_path: Path, runtime: Path, version: str, known: bool
) -> None:
    edge = Edge(program(tmp_path / "nginx", f"nginx version: nginx/{version}"), tmp_path / "edge", runtime)
    edge.prepare()
    assert ("keepalive_min_timeout 2s;" in (edge.current / "nginx.conf").read_text()) is known


def test_argv_removes_a_stale_socket_and_executes_nginx(edge: Edge) -> None:
    directory = edge.directory
    assert edge.argv() == (
        *(sys.executable, "-I", "-S", f"{directory}/nginx_start.py", str(edge.socket)),
        *(str(edge.program), "-p", f"{directory}/", "-c", f"{directory}/current/nginx.conf"),
        *("-e", f"{directory}/logs/error.log"),
    )


def test_prepare_makes_the_directories_and_a_tree_without_sites(edge: Edge) -> None:
    edge.prepare()
    assert edge.sites() == {}
    assert (edge.current / "nginx.conf").is_file()
    assert mode(edge.current) == 0o755
    assert (
        mode(edge.directory) == mode(edge.logs) == mode(edge.directory / "run") == mode(edge.runtime) == 0o700
    )


def test_prepare_again_changes_nothing(edge: Edge) -> None:
    edge.prepare()
    tree = edge.current.readlink()
    edge.prepare()
    assert edge.current.readlink() == tree
    assert len(list(edge.trees.iterdir())) == 1


@pytest.mark.parametrize("module", [start, rotation])
def test_prepare_copies_the_standalone_programs_and_updates_them(edge: Edge, module: ModuleType) -> None:
    source = Path(str(module.__file__))
    copy, text = edge.directory / f"nginx_{source.name}", source.read_text()
    for _ in range(2):
        edge.prepare()
        assert copy.read_text() == text
        assert mode(copy) == 0o644  # nginx's account must read it
        copy.write_text("an older one")


SITE = Site(app="shop", release=7, port=8000, backends=("127.0.0.1:20000",))


@pytest.fixture(params=["edge", 'an "odd" \\ edge'])
def used(edge: Edge, request: pytest.FixtureRequest) -> Edge:
    """An edge with a site, in a directory whose path may need quoting."""
    made = replace(edge, directory=edge.directory.with_name(request.param), runtime=edge.runtime / "one")
    made.prepare()
    made.place({"shop": SITE})
    return made


@pytest.mark.parametrize("original", ["kept", "gone"])
def test_prepare_renders_a_copied_tree_for_its_own_directory(used: Edge, original: str) -> None:
    copy = replace(used, directory=used.directory.with_name("copy"), runtime=used.runtime.with_name("two"))
    shutil.copytree(used.directory, copy.directory, symlinks=True)
    before = used.current.readlink()
    if original == "gone":
        files.remove_tree(used.directory)
    copy.prepare()
    assert copy.sites() == {"shop": SITE}
    for path in (copy.current / "nginx.conf", copy.current / "sites" / "shop.conf"):
        assert str(used.directory) not in path.read_text().replace("\\\\", "\\").replace('\\"', '"')
    assert str(copy.socket) in (copy.current / "nginx.conf").read_text()
    after = copy.current.readlink()
    assert after != before
    copy.prepare()
    assert copy.current.readlink() == after
    assert original == "gone" or used.current.readlink() == before


def test_prepare_renders_the_tree_again_after_the_socket_moved(used: Edge) -> None:
    moved = replace(used, runtime=used.runtime.with_name("two"))
    moved.prepare()
    assert str(moved.socket) in (used.current / "nginx.conf").read_text()


def test_prepare_keeps_the_tree_if_the_directory_is_reached_by_a_link(used: Edge) -> None:
    link = used.directory.with_name("link")
    link.symlink_to(used.directory)
    before = used.current.readlink()
    replace(used, directory=link).prepare()
    assert used.current.readlink() == before


def test_prepare_repairs_a_dangling_link(edge: Edge) -> None:
    edge.prepare()
    files.remove_tree(edge.current.resolve())
    edge.prepare()
    assert edge.sites() == {}


def test_a_runtime_directory_too_long_for_a_socket_is_refused(edge: Edge) -> None:
    long = Edge(edge.program, edge.directory, edge.runtime / ("x" * 107))
    with pytest.raises(HostError, match="at most 107 bytes"):
        long.prepare()


BLOG = Site(app="blog", release=1, port=8001, backends=("127.0.0.1:20001",))


def shared(used: Edge, before: Path) -> set[str]:
    """The files that the current tree shares with another as hard links."""
    now = used.current.resolve()
    names = {str(p.relative_to(now)) for p in now.rglob("*") if p.is_file()}
    return {name for name in names if (before / name).exists() and (now / name).samefile(before / name)}


def test_unchanged_files_are_shared_between_two_trees(used: Edge) -> None:
    before = used.current.resolve()
    used.place({"blog": BLOG})
    assert shared(used, before) == {"headers.conf", "left_out.conf", "sites/shop.conf"}


def test_a_changed_file_is_rewritten_and_the_old_one_kept(used: Edge) -> None:
    before = used.current.resolve()
    old = (before / "sites" / "shop.conf").read_text()
    used.place({"shop": msgspec.structs.replace(SITE, release=8)})
    assert shared(used, before) == {"headers.conf", "left_out.conf"}
    assert (before / "sites" / "shop.conf").read_text() == old
    assert "release 8" in (used.current / "sites" / "shop.conf").read_text()


def test_a_change_made_by_hand_is_lost_at_the_next_switch(used: Edge) -> None:
    before = used.current.resolve()
    rendered = (before / "sites" / "shop.conf").read_text()
    with (before / "sites" / "shop.conf").open("a") as f:
        f.write("# by hand\n")
    used.place({"blog": BLOG})
    assert (used.current / "sites" / "shop.conf").read_text() == rendered


def test_a_new_tree_is_fsynced_before_the_link_moves(used: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    point = files.point
    before = used.current.resolve()
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(str(Path(f"/proc/self/fd/{fd}").readlink())))

    def pointed(link: Path, target: str) -> None:
        done.append("pointed")
        point(link, target)

    monkeypatch.setattr(files, "point", pointed)
    used.place({"blog": BLOG})
    tree = used.current.resolve()
    new = [tree / name for name in ("sites/blog.conf", "nginx.conf", "sites.json", "sites", "", "..")]
    assert {str(p.resolve()) for p in new} <= set(done[: done.index("pointed")])
    for path in tree.rglob("*"):
        name = path.relative_to(tree)
        assert str(path) in done or path.samefile(before / name)
        if str(path) in done:
            assert done.index(str(path)) < done.index(str(path.parent))


@pytest.mark.parametrize("text", ["", "[]", '{"shop": {"app": "shop"}}', '{"shop": {"surprise": 1}}'])
def test_unreadable_sites_are_an_error(edge: Edge, text: str) -> None:
    edge.prepare()
    (edge.current / "sites.json").write_text(text)
    with pytest.raises(StateError, match="sites cannot be read") as caught:
        edge.sites()
    assert caught.value.where == str(edge.current / "sites.json")


def test_switching_an_edge_that_never_ran_fails(edge: Edge) -> None:
    edge.prepare()
    assert not edge.running()
    assert not edge.answering()
    with pytest.raises(EdgeError, match="nginx is not running"):
        edge.switch({})


def test_a_pid_file_of_another_process_does_not_count(edge: Edge) -> None:
    edge.prepare()
    (edge.directory / "run" / "nginx.pid").write_text("1\n")
    assert not edge.running()


def test_a_switch_without_older_workers_has_nothing_to_drain(edge: Edge) -> None:
    assert edge.drained(Switch("1-00000000"), 0.0)


def test_drain_does_not_wait_for_a_process_other_than_nginx(edge: Edge) -> None:
    assert edge.drained(Switch("1-00000000", (os.getpid(),)), 0.0)

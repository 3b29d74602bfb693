"""The supervisor, as far as that needs none running."""

import shutil
import sys
from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.core.processes import Process
from pushrod.core.values import ProcessState
from pushrod.engines.embedded import supervisor_files
from pushrod.engines.embedded.supervisor import Supervisor


def process(name: str, **more: object) -> Process:
    fields: dict[str, object] = {
        "group": "shop-r7",
        "name": name,
        "argv": ("uvicorn", "shop:app", "--port", "20001"),
        "cwd": "/srv/shop",
        "environment": {"PATH": "/venv/bin", "SECRET": "s3cr%t"},
        "log": f"/srv/log/{name}.log",
        "priority": 30,
    }
    return Process(**{**fields, **more})  # type: ignore[arg-type]


def test_a_supervisor_that_does_not_run_has_stopped_groups(tmp_path: Path) -> None:
    s = Supervisor(tmp_path / "s", tmp_path, None)
    assert not s.running()
    assert s.groups() == ()
    assert s.states() == ()
    s.remove("shop-r7")
    s.shutdown()
    s.ensure_directories()
    s._write_group("shop-r7", (process("a", log=str(tmp_path / "a.log")),))
    assert s.groups() == ("shop-r7",)
    assert s.states() == (ProcessState("shop-r7", "a", "stopped", detail="the supervisor does not run"),)
    assert s.states("other") == ()
    s.remove("shop-r7")
    assert s.groups() == ()
    assert not list(s.place.directory.rglob("*shop*"))


@pytest.mark.parametrize(
    ("group", "processes"),
    [
        ("a.b", (process("x", group="a.b"),)),
        ("shop-r7", (process("x:y"),)),
        ("shop-r7", ()),
        ("other", (process("x"),)),
    ],
)
def test_an_invalid_group_is_refused(tmp_path: Path, group: str, processes: tuple[Process, ...]) -> None:
    s = Supervisor(tmp_path / "s", tmp_path, None)
    with pytest.raises(HostError):
        s.apply(group, processes)
    assert not (tmp_path / "s").exists()


def test_standalone_programs_are_copied_and_kept_up_to_date(tmp_path: Path) -> None:
    s = Supervisor(tmp_path / "s", tmp_path, None)
    s.ensure_directories()
    source = Path(supervisor_files.__file__)
    copies = sorted(p.name for p in (tmp_path / "s" / "programs").iterdir())
    assert copies == sorted(supervisor_files.PROGRAMS)
    assert s.place.start.stat().st_mode & 0o777 == 0o700
    launch, keeper = s.place.program("launch.py"), s.place.program("keeper.py")
    launch.write_text("an older one")
    before = keeper.stat().st_ino
    s.ensure_directories()
    assert launch.read_text() == source.with_name(supervisor_files.PROGRAMS["launch.py"]).read_text()
    assert keeper.stat().st_ino == before  # not written again
    assert sys.executable in s.place.start.read_text()


def copied(tmp_path: Path) -> tuple[Supervisor, Supervisor]:
    """A supervisor's directory with one group, and a copy of it."""
    one, two = (Supervisor(tmp_path / n / "s", tmp_path / n, None) for n in ("one", "two"))
    one.ensure_directories()
    one._write_group("shop-r7", (process("a", log=str(tmp_path / "a.log")),))
    one._group_lock("shop-r7.a").touch()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    return one, two


def test_groups_of_a_copied_directory_are_dropped(tmp_path: Path) -> None:
    one, two = copied(tmp_path)
    own = two.place.group_conf("own")
    own.write_text("[program:x]\ncommand=true\n")
    assert two.groups() == ("own", "shop-r7")
    two._remove_foreign()
    assert two.groups() == ("own",)
    assert not list(two.place.directory.rglob("*shop*"))
    one._remove_foreign()
    assert one.groups() == ("shop-r7",)
    assert one.place.spec("shop-r7", "a").exists()
    assert one._locks("shop-r7")


def test_groups_of_a_moved_directory_are_dropped(tmp_path: Path) -> None:
    _, two = copied(tmp_path)
    shutil.rmtree(tmp_path / "one")
    two._remove_foreign()
    assert two.groups() == ()


def test_groups_are_kept_if_the_directory_is_reached_by_a_link(tmp_path: Path) -> None:
    copied(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    link = Supervisor(tmp_path / "link" / "s", tmp_path / "link", None)
    link._remove_foreign()
    assert link.groups() == ("shop-r7",)


def test_a_group_without_its_specs_is_kept(tmp_path: Path) -> None:
    one, _ = copied(tmp_path)
    shutil.rmtree(one.place.directory / "specs")
    one._remove_foreign()
    assert one.groups() == ("shop-r7",)

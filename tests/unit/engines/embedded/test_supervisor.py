"""What the supervisor's files say, whole; and what can be said without a running one."""

import configparser
import json
import shlex
from pathlib import Path

import pytest

from pushrod.engines.embedded import launch
from pushrod.engines.embedded.supervisor import (
    Place,
    Supervisor,
    render_daemon,
    render_group,
    specification,
)
from pushrod.errors import HostError
from pushrod.host import Account
from pushrod.values import Process, ProcessState

PLACE = Place(Path("/srv/pushrod/supervisor"), Path("/run/p/supervisor.sock"), None)

DAEMON = """\
[supervisord]
logfile=/srv/pushrod/supervisor/supervisord.log
logfile_maxbytes=5MB
logfile_backups=3
pidfile=/srv/pushrod/supervisor/supervisord.pid
directory=/
childlogdir=/srv/pushrod/supervisor
nocleanup=true
umask=022
minfds=1024
minprocs=1

[unix_http_server]
file=/run/p/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:wakeup]
supervisor.rpcinterface_factory=pushrod.engines.embedded.wakeup:install

[supervisorctl]
serverurl=unix:///run/p/supervisor.sock

[include]
files=conf.d/*.conf
"""

GROUP = f"""\
[group:shop-r7]
programs=shop-r7.backend-1,shop-r7.worker-1
priority=20

[program:shop-r7.backend-1]
process_name=backend-1
command=/venv/bin/python -I -S {launch.__file__} /srv/pushrod/supervisor/specs/shop-r7/backend-1.json
environment=PUSHROD_SPEC="%s"
priority=30
autostart=true
autorestart=true
startsecs=1
startretries=1000000000
stopsignal=TERM
stopwaitsecs=10
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile=/srv/log/backend-1.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=3

[program:shop-r7.worker-1]
process_name=worker-1
command=/venv/bin/python -I -S {launch.__file__} /srv/pushrod/supervisor/specs/shop-r7/worker-1.json
environment=PUSHROD_SPEC="%s"
priority=20
autostart=true
autorestart=true
startsecs=1
startretries=1000000000
stopsignal=QUIT
stopwaitsecs=3
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile=/srv/log/worker-1.log
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=3
"""


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


def digests(text: str) -> list[str]:
    return [line.split('"')[1] for line in text.splitlines() if line.startswith("environment=")]


def test_daemon() -> None:
    assert render_daemon(PLACE, descriptors=1024, root=False) == DAEMON
    with_user = DAEMON.replace("minprocs=1\n", "minprocs=1\nuser=0\n").replace("minfds=1024", "minfds=512")
    assert render_daemon(PLACE, descriptors=512, root=True) == with_user


def test_group() -> None:
    worker = process("worker-1", priority=20, stop_signal="QUIT", stop_grace=2.1, stop_group=True)
    text = render_group(PLACE, "shop-r7", (process("backend-1"), worker), "/venv/bin/python")
    found = digests(text)
    assert len(set(found)) == 2
    assert all(len(d) == 64 for d in found)
    assert text == GROUP % tuple(found)
    assert "s3cr" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"PATH": "/venv/bin"}},
        {"argv": ("uvicorn",)},
        {"cwd": "/"},
        {"wait_for": (5432,)},
        {"death_signal": "INT"},
    ],
)
def test_group_changes_with_every_spec(change: dict[str, object]) -> None:
    one = render_group(PLACE, "shop-r7", (process("a"),), "python")
    assert render_group(PLACE, "shop-r7", (process("a"),), "python") == one
    assert render_group(PLACE, "shop-r7", (process("a", **change),), "python") != one


def test_paths_with_spaces_quotes_and_percent_signs() -> None:
    directory = Path("/home/a b/100%/o'neil/supervisor")
    place = Place(directory, Path("/run/%s/s"), None)
    text = render_group(place, "g", (process("a", group="g", log="/var/50% off/a.log"),), "/p y/python")
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(text)
    section = parser["program:g.a"]
    command = shlex.split(section["command"] % {})
    assert command == ["/p y/python", "-I", "-S", launch.__file__, f"{directory}/specs/g/a.json"]
    assert (section["stdout_logfile"] % {}) % {} == "/var/50% off/a.log"
    assert "file=/run/%%s/s\n" in render_daemon(place, descriptors=1, root=False)


@pytest.mark.parametrize("bad", ["/a ;b", "/a #b", "/a\nb", "/a*", "/[a]", "/a "])
def test_paths_that_supervisord_cannot_have(bad: str) -> None:
    with pytest.raises(HostError, match="cannot have this path"):
        render_daemon(Place(Path("/x"), Path(bad), None), descriptors=1, root=False)


def test_specification() -> None:
    text = specification(PLACE, process("a", wait_for=(5432,), stop_grace=7, death_signal="INT"))
    spec = json.loads(text)
    setpriv = spec["argv"][0]
    assert setpriv.endswith("/setpriv")
    assert spec == {
        "program": "uvicorn",
        "argv": [setpriv, "--pdeathsig=INT", "--", "uvicorn", "shop:app", "--port", "20001"],
        "cwd": "/srv/shop",
        "environment": {"PATH": "/venv/bin", "SECRET": "s3cr%t"},
        "lock": "/srv/pushrod/supervisor/locks/shop-r7.a",
        "wait_for": [5432],
        "death_signal": "INT",
        "stop_grace": 7,
        "stdin": False,
    }


def test_specification_of_an_account() -> None:
    place = PLACE._replace(account=Account("nobody", 65534, 65533))
    argv = json.loads(specification(place, process("a")))["argv"]
    assert argv[1:5] == ["--reuid=65534", "--regid=65533", "--clear-groups", "--pdeathsig=TERM"]


def test_specification_without_account_and_death_signal() -> None:
    argv = json.loads(specification(PLACE, process("a", death_signal="")))["argv"]
    assert argv[0] == "uvicorn"


def test_without_a_running_one(tmp_path: Path) -> None:
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
def test_what_cannot_be_a_group(tmp_path: Path, group: str, processes: tuple[Process, ...]) -> None:
    s = Supervisor(tmp_path / "s", tmp_path, None)
    with pytest.raises(HostError):
        s.apply(group, processes)
    assert not (tmp_path / "s").exists()

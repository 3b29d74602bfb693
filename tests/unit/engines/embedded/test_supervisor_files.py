"""The supervisor's complete files."""

import configparser
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.core.processes import Process
from pushrod.engines.embedded import supervisor_files
from pushrod.engines.embedded.supervisor_files import (
    PROGRAMS,
    Place,
    render_daemon,
    render_group,
    render_start,
    specification,
    specs_named,
)
from pushrod.system.accounts import Account

PLACE = Place(Path("/srv/supervisor"), Path("/run/p/supervisor.sock"), None)

DAEMON = """\
[supervisord]
logfile=/srv/supervisor/supervisord.log
logfile_maxbytes=5MB
logfile_backups=3
pidfile=/srv/supervisor/supervisord.pid
directory=/
childlogdir=/srv/supervisor
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
supervisor.rpcinterface_factory=wakeup:install

[supervisorctl]
serverurl=unix:///run/p/supervisor.sock

[include]
files=conf.d/*.conf
"""

START = """\
#!/bin/sh
# Starts the supervisor of this directory and its processes. Needs no pushrod. Rendered by pushrod.
directory=/srv/supervisor
if ! [ "$0" -ef "$directory/start" ]; then
    echo "$0 was copied or moved from $directory: run 'pushrod up' with the new --root" >&2
    exit 1
fi
cd /
exec /venv/bin/python -P "$directory/programs/daemon.py" -c "$directory/supervisord.conf" "$@"
"""

GROUP = """\
[group:shop-r7]
programs=shop-r7.backend-1,shop-r7.worker-1
priority=20

[program:shop-r7.backend-1]
process_name=backend-1
command=/venv/bin/python -I -S /srv/supervisor/programs/launch.py /srv/supervisor/specs/shop-r7/backend-1.json
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
command=/venv/bin/python -I -S /srv/supervisor/programs/launch.py /srv/supervisor/specs/shop-r7/worker-1.json
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


def test_the_daemon_configuration_is_complete() -> None:
    assert render_daemon(PLACE, descriptors=1024, root=False) == DAEMON
    with_user = DAEMON.replace("minprocs=1\n", "minprocs=1\nuser=0\n").replace("minfds=1024", "minfds=512")
    assert render_daemon(PLACE, descriptors=512, root=True) == with_user


def test_a_group_configuration_is_complete() -> None:
    worker = process("worker-1", priority=20, stop_signal="QUIT", stop_grace=2.1, stop_group=True)
    text = render_group(PLACE, "shop-r7", (process("backend-1"), worker), "/venv/bin/python")
    result = digests(text)
    assert len(set(result)) == 2
    assert all(len(d) == 64 for d in result)
    assert text == GROUP % tuple(result)
    assert "s3cr" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"PATH": "/venv/bin"}},
        {"argv": ("uvicorn",)},
        {"cwd": "/"},
        {"wait_for": ("127.0.0.1:5432",)},
        {"death_signal": "INT"},
    ],
)
def test_group_changes_with_every_spec(change: dict[str, object]) -> None:
    one = render_group(PLACE, "shop-r7", (process("a"),), "python")
    assert render_group(PLACE, "shop-r7", (process("a"),), "python") == one
    assert render_group(PLACE, "shop-r7", (process("a", **change),), "python") != one


def test_paths_with_spaces_quotes_and_percent_signs_are_escaped() -> None:
    directory = Path("/home/a b/100%/o'neil/supervisor")
    place = Place(directory, Path("/run/%s/s"), None)
    text = render_group(place, "g", (process("a", group="g", log="/var/50% off/a.log"),), "/p y/python")
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(text)
    section = parser["program:g.a"]
    command = shlex.split(section["command"] % {})
    assert command == [
        "/p y/python",
        "-I",
        "-S",
        f"{directory}/programs/launch.py",
        f"{directory}/specs/g/a.json",
    ]
    assert (section["stdout_logfile"] % {}) % {} == "/var/50% off/a.log"
    assert "file=/run/%%s/s\n" in render_daemon(place, descriptors=1, root=False)


@pytest.mark.parametrize("bad", ["/a ;b", "/a #b", "/a\nb", "/a*", "/[a]", "/a "])
def test_paths_that_supervisord_cannot_use_are_refused(bad: str) -> None:
    with pytest.raises(HostError, match="cannot use this path"):
        render_daemon(Place(Path("/x"), Path(bad), None), descriptors=1, root=False)


def test_a_specification_is_complete() -> None:
    text = specification(PLACE, process("a", wait_for=("127.0.0.1:5432",), stop_grace=7, death_signal="INT"))
    spec = json.loads(text)
    setpriv = spec["argv"][0]
    assert setpriv.endswith("/setpriv")
    assert spec == {
        "program": "uvicorn",
        "argv": [setpriv, "--pdeathsig=INT", "--", "uvicorn", "shop:app", "--port", "20001"],
        "cwd": "/srv/shop",
        "environment": {"PATH": "/venv/bin", "SECRET": "s3cr%t"},
        "lock": "/srv/supervisor/locks/shop-r7.a",
        "wait_for": ["127.0.0.1:5432"],
        "death_signal": "INT",
        "stop_grace": 7,
        "stdin": False,
    }


def test_a_specification_for_an_account_drops_privileges() -> None:
    place = PLACE._replace(account=Account("nobody", 65534, 65533))
    argv = json.loads(specification(place, process("a")))["argv"]
    assert argv[1:5] == ["--reuid=65534", "--regid=65533", "--clear-groups", "--pdeathsig=TERM"]


def test_a_specification_without_account_and_death_signal_has_no_wrapper() -> None:
    argv = json.loads(specification(PLACE, process("a", death_signal="")))["argv"]
    assert argv[0] == "uvicorn"


def test_the_start_script_is_complete() -> None:
    assert render_start(PLACE, "/venv/bin/python") == START


def started(directory: Path, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a directory's `start` script with a Python that prints its arguments."""
    python = directory / "python"
    python.write_text("""#!/bin/sh\nprintf '%s\\n' "$PWD" "$@"\n""")
    python.chmod(0o755)
    script.write_text(render_start(Place(directory, Path("/s"), None), str(python)))
    command = ["sh", script.name, *arguments]
    return subprocess.run(command, cwd=script.parent, env={}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["plain", 'o\'neil & $HOME `x` "50%" \\'])
def test_start_runs_the_daemon_in_any_directory(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    done = started(directory, directory / "start", "-n")
    program, conf = str(directory / "programs" / "daemon.py"), str(directory / "supervisord.conf")
    assert (done.stdout.splitlines(), done.stderr) == (["/", "-P", program, "-c", conf, "-n"], "")


def test_a_copied_start_script_refuses_to_start(tmp_path: Path) -> None:
    done = started(tmp_path, tmp_path / "start of another")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"was copied or moved from {tmp_path}: run 'pushrod up'" in done.stderr


def test_the_specs_named_by_a_group_are_found() -> None:
    place = Place(Path("/home/a b/100%/o'neil"), Path("/s"), None)
    processes = (process("a", group="g"), process("b", group="g"))
    expected = [place.spec("g", "a"), place.spec("g", "b")]
    assert specs_named(render_group(place, "g", processes, "/p y/python")) == expected
    others = "[program:x]\ncommand=true\n[program:y]\ncommand=\n[program:z]\ncommand=sh 'open\n"
    assert specs_named(others) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_need_no_pushrod(tmp_path: Path, name: str) -> None:
    """Each is imported alone, by a Python that finds the standard library and `supervisor` but not us."""
    copy = tmp_path / name
    copy.write_text((Path(supervisor_files.__file__).with_name(supervisor_files.PROGRAMS[name])).read_text())
    code = """if True:
        import runpy, sys
        class Away:
            def find_spec(self, name, *_):
                if name.partition(".")[0] == "pushrod":
                    raise ModuleNotFoundError(name)
        sys.meta_path.insert(0, Away())
        runpy.run_path(sys.argv[1], run_name="imported")
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, copy], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", False),
        ("{", False),
        ("[group:web]\nprograms=web.one\n", False),
        ("[group:web]\nprograms=web.one\n[program:web.one]\n", False),
        ("[program:mine]\ncommand=x\n", True),
        ("[group:web]\nprograms=web.one\n[program:web.one]\ncommand=x %%\n", True),
    ],
)
def test_a_valid_group_file_is_recognized(tmp_path: Path, text: str, whole: bool) -> None:
    path = tmp_path / "web.conf"
    path.write_text(text)
    assert supervisor_files.is_group(path) == whole
    path.write_bytes(b"\0\xff")
    assert not supervisor_files.is_group(path)
    path.unlink()
    path.mkdir()
    assert not supervisor_files.is_group(path)

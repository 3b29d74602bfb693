"""A server by SSH, with a program instead of ssh that answers as ssh does."""

from pathlib import Path

import pytest

from pushrod.core.errors import HostError
from pushrod.provisioning import bundle, server
from pushrod.provisioning.packages import APT_OPTIONS
from pushrod.provisioning.server import Server
from pushrod.system import files


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ssh: writes its arguments to a file, and acts according to `answers` (a shell's case)."""
    program = tmp_path / "ssh"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{program} -i key")
    return program


def answer(ssh: Path, cases: str) -> None:
    asked = ssh.with_name("asked")
    text = (
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {asked}\nfor last; do :; done\ncase "$last" in\n{cases}\nesac\n'
    )
    files.write(ssh, text, mode=0o755)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("root@server: Permission denied (publickey).", "root@server refuses your key"),
        ("Host key verification failed.", "root@server is not known to this machine"),
        (
            "ssh: connect to host server port 22: Connection timed out",
            "cannot be reached: ssh: connect to host",
        ),
        (
            "ssh: Could not resolve hostname server: Name or service not known",
            "cannot be reached: ssh: Could not",
        ),
        ("", "cannot be reached: ssh gave no reason"),
    ],
)
def test_a_refused_login_is_reported_with_a_hint(words: str, expected: str, ssh: Path) -> None:
    answer(ssh, f"*) echo '{words}' >&2; exit 255;;")
    with pytest.raises(HostError, match=expected) as refused:
        Server("root@server").open()
    assert refused.value.hint


def test_ssh_never_prompts(ssh: Path) -> None:
    argv = Server("root@server").argv("id", "-u")
    assert argv[:3] == [str(ssh), "-i", "key"]
    assert "BatchMode=yes" in argv
    assert any(word.startswith("ConnectTimeout=") for word in argv)


def test_arguments_reach_the_server_unchanged() -> None:
    assert Server("root@server").argv("sh", "-c", "a; $b")[-1] == "sh -c 'a; $b'"


def test_a_user_whose_sudo_needs_a_password_is_refused(ssh: Path) -> None:
    answer(ssh, '"id -u") echo 1000;; sudo*) exit 1;;')
    with pytest.raises(HostError, match="no root on me@server"):
        Server("me@server").open()


def test_a_user_with_passwordless_sudo_is_accepted(ssh: Path) -> None:
    answer(ssh, '"id -u") echo 1000;; "sudo -n true") ;; python3*) ;; "sudo -n x y") echo done;;')
    server = Server("me@server")
    server.open()
    lines: list[str] = []
    assert (server.run("x", "y", on_line=lines.append), lines) == (0, ["done"])


def test_a_server_without_python_is_refused(ssh: Path) -> None:
    answer(ssh, '"id -u") echo 0;; *) exit 127;;')
    with pytest.raises(HostError, match="no python3 on root@server"):
        Server("root@server").open()


def test_a_package_is_installed_there_once_another_apt_get_has_ended(ssh: Path) -> None:
    answer(ssh, '"id -u") echo 0;; "restic version") exit 127;; *) ;;')
    server = Server("root@server")
    server.open()
    server.provide("restic", "restic", lambda _line: None)
    calls = [line for line in ssh.with_name("asked").read_text().splitlines() if "apt-get" in line]
    assert [" ".join(APT_OPTIONS) in call for call in calls] == [True, True]


def test_a_target_that_looks_like_an_option_is_refused() -> None:
    with pytest.raises(HostError, match="is not a server"):
        Server("-oProxyCommand=x")


@pytest.mark.slow
def test_the_remote_exit_status_is_returned_and_temporary_files_removed(ssh: Path) -> None:
    """The wheel that arrives is that of the running pushrod, and is removed."""
    place = ssh.with_name("place")
    place.mkdir()
    cases = f"""
    "id -u") echo 0;;
    mktemp*) echo {place};;
    "sh -c 'cat > "*) cat > {place}/wheel;;
    "python3 -I - "*) cat > {ssh.with_name("installer")};;
    rm*) mv {place}/wheel {ssh.with_name("wheel")};;
    */bin/pushrod*) echo it said; exit 10;;
    """
    answer(ssh, cases)
    lines: list[str] = []
    assert server.initialise("root@server", [], plan=False, on_line=lines.append, out=lines.append) == 10
    assert lines == ["it said"]
    assert ssh.with_name("wheel").read_bytes() == bundle.render(bundle.files())
    assert "apt-get" in ssh.with_name("installer").read_text()
    assert list(place.iterdir()) == []


@pytest.mark.slow
def test_a_plan_leaves_nothing_installed(ssh: Path) -> None:
    answer(ssh, '"id -u") echo 0;; cat*) exit 1;; mktemp*) echo /tmp/place;; */bin/pushrod*) echo planned;;')
    lines: list[str] = []
    assert (
        server.initialise("root@server", ["--plan"], plan=True, on_line=lines.append, out=lines.append) == 0
    )
    asked = ssh.with_name("asked").read_text()
    assert "/opt/pushrod/bin" not in asked
    assert "/tmp/place/pushrod/bin/pushrod host init --plan" in asked
    assert asked.splitlines()[-1].endswith("rm -rf /tmp/place")


@pytest.mark.slow
def test_a_host_is_rebuilt_on_a_server_that_gets_what_it_lacks(ssh: Path) -> None:
    """The credentials are on no command line."""
    got = ssh.with_name("got")
    cases = f"""
    "id -u") echo 0;;
    mktemp*) echo /tmp/place;;
    "sh -c 'cat > "*|"python3 -I - "*) cat >/dev/null;;
    "restic version") exit 127;;
    *"host restore"*) cat > {got}; echo restored; exit 6;;
    """
    answer(ssh, cases)
    lines: list[str] = []
    given = ("root@server", ["--from", "s3:https://x/y"], "RESTIC_PASSWORD=p\n")
    assert server.rebuild(*given, on_line=lines.append, out=lines.append) == 6
    assert (lines, got.read_text()) == (["restored"], "RESTIC_PASSWORD=p\n")
    asked = [line.partition(" -- ")[2] for line in ssh.with_name("asked").read_text().splitlines()]
    begun = [n for n, line in enumerate(asked) if line.endswith("pushrod host init")]
    assert begun and [line.rpartition("Use-Pty=0 ")[2] for line in asked[-3:-1]] == [
        "update",
        "install --no-install-recommends restic",
    ]
    assert asked[-1].endswith("pushrod host restore --from s3:https://x/y --credentials -")
    assert "RESTIC_PASSWORD" not in "".join(asked)


@pytest.mark.slow
def test_a_server_that_cannot_become_a_host_is_not_restored(ssh: Path) -> None:
    answer(
        ssh,
        '"id -u") echo 0;; mktemp*) echo /tmp/p;; "sh -c"*|"python3 -I -"*) cat >/dev/null;; *init) exit 9;;',
    )
    assert server.rebuild("root@server", [], "", on_line=print, out=print) == 9
    assert "host restore" not in ssh.with_name("asked").read_text()

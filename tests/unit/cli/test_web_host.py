"""The page of a host: which calls outlive it, what is asked over SSH, and what is not a server."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pushrod.cli import cli, web_host
from pushrod.core.errors import HostError
from pushrod.state.apps import App, HostSettings
from pushrod.web.access import Access, Member
from pushrod.web.calls import Call


def run(app: App, *argv: str) -> str:
    argv = ("--root", str(app.root.path), "web", *argv)
    return CliRunner().invoke(cli, argv, catch_exceptions=False, standalone_mode=False).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("rollback", "--app", "shop"), True),
        (("maintenance", "on"), True),
        (("logs", "--follow"), False),
        (("db", "backups"), False),
        (("nothing",), False),
        ((), False),
    ],
)
def test_only_what_changes_something_outlives_the_page(words: tuple[str, ...], expected: bool) -> None:
    assert web_host._changes(msgspec.json.encode(Call("token", words))) is expected
    assert web_host._changes(b"not a call") is False


@pytest.mark.parametrize("server", ["server", "-oProxyCommand=id@x", "root@-x", "a b@c", "root@x;id", "@x"])
def test_what_is_no_server_is_never_given_to_ssh(server: str) -> None:
    with pytest.raises(HostError, match="is not USER@SERVER"):
        web_host.through(server, "pushrod.localhost", 0, browser=False)


def test_a_server_without_the_page_is_an_error_with_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stderr.write(' '.join(sys.argv[1:]))\nsys.exit(10)\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    with pytest.raises(HostError, match="gives no link") as refused:
        web_host.through("root@server", "pushrod.localhost", 0, browser=False)
    assert refused.value.log == ("root@server pushrod web link",)


@pytest.mark.parametrize(
    ("port", "link"),
    [
        (9181, '/enter?link="><script src=//x></script>'),
        (9181, "@elsewhere.example.com/"),
        (9181, f"/enter?link={'x' * 43}\\n"),
        (0, f"/enter?link={'x' * 43}"),
        (1 << 16, f"/enter?link={'x' * 43}"),
        ("9181 -R 22", f"/enter?link={'x' * 43}"),
    ],
)
def test_what_a_server_says_is_a_port_and_a_link_or_not_used(
    port: object, link: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The link becomes part of a file that the browser opens, and the port one of SSH's arguments."""
    ssh = tmp_path / "ssh"
    answer = json.dumps({"port": port, "link": link})
    ssh.write_text(f"#!{sys.executable}\nimport sys\nassert '-L' not in sys.argv\nprint({answer!r})\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    with pytest.raises(HostError, match="has another version of pushrod"):
        web_host.through("root@server", "pushrod.localhost", 0, browser=False)


SSH = """\
#!{python}
import os, socket, sys, time
if "-L" not in sys.argv:
    print('{{"port": 9181, "link": "/enter?link=a-token-{token}"}}')
    sys.exit()
os.setuid({uid})
listening = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("-L") + 1].split(":")[1])))
time.sleep(20)
"""


@pytest.fixture
def tunnel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], None]:
    """An SSH client whose port is that of an account, as if that one had been faster."""

    def made(uid: int) -> None:
        ssh = tmp_path / "ssh"
        ssh.write_text(SSH.format(python=sys.executable, uid=uid, token="x" * 35))
        ssh.chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))

    return made


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another account")
def test_another_account_that_takes_the_tunnels_port_gets_no_link(
    tunnel: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tunnel(65534)
    with pytest.raises(HostError, match="another account has taken port"):
        web_host.through("root@server", "pushrod.localhost", 0, browser=False)
    assert "a-token" not in "".join(capsys.readouterr())


def test_a_port_that_is_given_and_taken_gets_no_link(
    tunnel: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tunnel(os.geteuid())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(HostError, match=f"port {number} of 127.0.0.1 is in use"):
            web_host.through("root@server", "pushrod.localhost", number, browser=False)
    assert "a-token" not in "".join(capsys.readouterr())


def test_a_link_is_for_the_owner_who_asks_and_needs_the_page(app: App) -> None:
    with pytest.raises(HostError, match="not a host"):
        run(app, "link")
    app.root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
    if os.geteuid() == 0:
        return  # root would become the account
    with pytest.raises(HostError, match="is off"):
        run(app, "link")
    app.root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings(web=9181)))
    answer = json.loads(run(app, "link"))
    assert answer["port"] == 9181
    (member,) = Access(app.root).members()
    assert member == Member(member.name, "owner")


def test_a_taken_port_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        number = taken.getsockname()[1]
        assert web_host._free(number) not in (0, number)

"""Verbs about an app on another machine; `ssh` is a program that records its arguments."""

import json
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pushrod.adapters import git
from pushrod.cli import cli, remote
from pushrod.core.errors import HostError
from tests.conftest import Tree

SSH = """\
#!/bin/sh
{
    for word; do printf '%s\\n' "$word"; done
    printf 'read %s\\n' "$(cat)"
} > "$ASKED"
echo "said there"
exit 13
"""


@pytest.fixture
def asked(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a repository whose remote is on another machine; yields the file with the arguments of ssh."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    for name in ("PUSHROD_ROOT", "GIT_SSH_COMMAND", "GIT_SSH"):
        monkeypatch.delenv(name, raising=False)
    tree.commit("one", a="1")
    git.set_remote(tree.path, "pushrod@server:shop")
    monkeypatch.chdir(tree.path)
    return tmp_path / "asked"


@pytest.mark.parametrize(
    ("url", "connects", "app"),
    [
        ("pushrod@server:shop", ["pushrod@server"], "shop"),
        ("server:/shop.git", ["server"], "shop"),
        ("pushrod@server:~/shop", ["pushrod@server"], "shop"),
        ("ssh://pushrod@server/shop", ["pushrod@server"], "shop"),
        ("ssh://pushrod@server:2222/~/shop.git/", ["-p", "2222", "pushrod@server"], "shop"),
        ("pushrod@[fd00::1]:shop", ["pushrod@fd00::1"], "shop"),
        ("ssh://[fd00::1]:22/shop", ["-p", "22", "fd00::1"], "shop"),
    ],
)
def test_an_ssh_url_is_parsed(url: str, connects: list[str], app: str) -> None:
    assert remote.parse(url) == remote.Remote(("ssh", *connects), app)


@pytest.mark.parametrize(
    "url", ["", "/srv/apps/shop/repo.git", "../shop", "https://server/shop.git", "file:///srv/shop", "./a:b"]
)
def test_other_urls_are_not_remote(url: str) -> None:
    assert remote.parse(url) is None


@pytest.mark.parametrize("url", ["-oProxyCommand=id:shop", "ssh://-oProxyCommand=id/shop", "a@-b:shop"])
def test_a_host_name_cannot_be_an_option(url: str) -> None:
    with pytest.raises(HostError, match="cannot begin with a dash"):
        remote.parse(url)


@pytest.mark.parametrize(
    ("argv", "sent"),
    [
        ("status", "status --app shop"),
        ("status --json", "status --app shop --json"),
        ("releases --app blog", "releases --app blog"),
        ("logs -f -n 3 web", "logs --app shop --follow --lines 3 web"),
        ("logs --status 5xx --status 404 --slow 1s", "logs --app shop --status 5xx --status 404 --slow 1s"),
        ("rollback 3 --across-migrations", "rollback --app shop --across-migrations 3"),
        ("rollback", "rollback --app shop"),
        ("scale web=2 worker=1", "scale --app shop web=2 worker=1"),
        ("down .", "down --app shop"),
        ("maintenance off", "maintenance off --app shop"),
        (
            "maintenance on --allow ::1 --allow 192.0.2.0/24 --retry-after 60",
            "maintenance on --app shop --allow ::1/128 --allow 192.0.2.0/24 --retry-after 60",
        ),
        ("secret list --json", "secret list --app shop --json"),
        ("secret unset A B", "secret unset --app shop A B"),
        ("exec web -- ls -l --root /", "exec --app shop web -- ls -l --root /"),
        ("run --service web ls '*'", "run --app shop --service web -- ls '*'"),
    ],
)
def test_a_verb_is_sent_to_the_server_with_its_options(asked: Path, argv: str, sent: str) -> None:
    done = CliRunner().invoke(cli, shlex.split(argv))
    assert done.exit_code == 13, done.output
    assert asked.read_text().splitlines()[:2] == ["pushrod@server", sent]


def test_a_verb_runs_locally_if_a_root_is_given(asked: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["status", "--json", "--root", str(tmp_path / "here")])
    assert (json.loads(done.stdout), asked.exists()) == ([], False)
    done = CliRunner().invoke(cli, ["--root", str(tmp_path / "here"), "status", "--json"])
    assert (json.loads(done.stdout), asked.exists()) == ([], False)


def test_the_ssh_command_configured_for_git_is_used(
    asked: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = str(asked.parent / "bin" / "ssh")
    tree.git("config", "core.sshCommand", f"{program} -F 'a file'")
    assert CliRunner().invoke(cli, ["status"]).exit_code == 13
    assert asked.read_text().splitlines()[:3] == ["-F", "a file", "pushrod@server"]
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{program} -i key")
    assert CliRunner().invoke(cli, ["status"]).exit_code == 13
    assert asked.read_text().splitlines()[:3] == ["-i", "key", "pushrod@server"]


def test_a_secret_is_sent_only_by_standard_input(asked: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["secret", "set", "KEY"], input="hush $HOME\n")
    assert (done.exit_code, "said there" in done.output) == (13, True)
    assert asked.read_text() == "pushrod@server\nsecret set --app shop KEY\nread hush $HOME\n"
    (tmp_path / "env").write_text("A=1\n")
    CliRunner().invoke(cli, ["secret", "import", str(tmp_path / "env")])
    assert asked.read_text() == "pushrod@server\nsecret import - --app shop\nread A=1\n"


def test_a_directory_outside_a_repository_has_no_remote(asked: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with click.Context(click.Command("pushrod")):
        assert remote.find(None, None, tmp_path / "outside") is None
        assert remote.find(None, "blog") == remote.Remote(("ssh", "pushrod@server"), "blog")

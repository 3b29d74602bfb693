"""What sshd runs: Git is become, a verb is run for the key's apps alone, all else ends with 12."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from pushrod.apps import App
from pushrod.cli import cli
from pushrod.errors import UnknownNameError
from pushrod.hosting import gate


def ask(app: App, command: str, *options: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", command)
    monkeypatch.setenv("LOGNAME", "pushrod")  # restored after the test, as what the gate sets
    monkeypatch.setenv(gate.APPS, "")
    argv = ["--root", str(app.root.path), "gate", "alice", *options]
    return CliRunner().invoke(cli, argv, catch_exceptions=False, standalone_mode=False).output


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What this process would have become."""
    seen: list[list[str]] = []
    monkeypatch.setattr(os, "execvpe", lambda _program, argv, _environment: seen.append(argv))
    return seen


def test_a_push_to_an_app(app: App, became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(app, "git-receive-pack '/shop.git'", "--app", "shop", monkeypatch=monkeypatch)
    assert became == [["git", "receive-pack", str(app.repository)]]


def test_a_first_push_makes_the_app(
    app: App, became: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(app, "git-receive-pack blog", monkeypatch=monkeypatch)
    made = app.root.app("blog")
    assert became == [["git", "receive-pack", str(made.repository)]]
    assert (made.repository / "hooks" / "pre-receive").exists()


@pytest.mark.parametrize("command", ["git-upload-pack blog", "git-receive-pack Blog"])
def test_nothing_else_makes_an_app(
    command: str, app: App, became: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError):
        ask(app, command, monkeypatch=monkeypatch)
    assert (became, [a.name for a in app.root.apps()]) == ([], ["shop"])


def test_a_key_of_some_apps_makes_none(
    app: App, became: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnknownNameError, match="no app `blog`"):
        ask(app, "git-receive-pack blog", "--app", "blog", monkeypatch=monkeypatch)
    assert became == []


def test_a_verb_is_run_for_the_apps_of_the_key(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    other = App(app.root, "zoo")
    other.save(app.settings)
    assert "zoo" in ask(app, "apps list", monkeypatch=monkeypatch)
    told = ask(app, "apps list", "--app", "shop", monkeypatch=monkeypatch)
    assert ("shop" in told, "zoo" in told) == (True, False)
    with pytest.raises(UnknownNameError, match="this key is not for `zoo`"):
        ask(app, "releases --app zoo", "--app", "shop", monkeypatch=monkeypatch)


def test_no_file_of_the_host_is_read(app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "x.env"
    secret.write_text("A=1\n")
    with pytest.raises(UnknownNameError, match="a file of the host"):
        ask(app, f"secret import {secret} --app shop", monkeypatch=monkeypatch)
    assert not list(app.secrets.glob("*variables*"))


def test_who_asks_for_nothing_is_told_what_there_is(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    told = ask(app, "", "--app", "shop", monkeypatch=monkeypatch)
    assert told.startswith("alice: you may push to shop, and run ")
    assert len(told.splitlines()) == 1

"""What differs on a Docker host: the root that is found, the account that acts, the apps that a key sees."""

import os
import pwd
import sys
from pathlib import Path

import click
import msgspec
import pytest

from pushrod.cli import host_context
from pushrod.cli.context import find_root, named_app
from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import account
from pushrod.provisioning.kinds import Reach
from pushrod.state.apps import App, HostSettings, Root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: App) -> Root:
    """A host's root, the account's home, with two apps; the user who runs the tests is the account."""
    root = app.root
    App(root, "zoo").save(msgspec.structs.replace(app.settings, name="zoo"))
    root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
    entry = pwd.struct_passwd(("pushrod", "x", 4242, 4242, "", str(root.path), "/bin/sh"))
    monkeypatch.setattr(account, "entry", lambda: entry)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.chdir(tmp_path)
    return root


def ask(verb: str = "status") -> click.Context:
    return click.Context(
        click.Command(verb),
        info_name=verb,
        parent=click.Context(click.Command("pushrod"), info_name="pushrod"),
    )


@pytest.mark.parametrize("uid", [0, 4242])
def test_root_and_the_account_use_the_root_of_the_host(
    uid: int, root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert host_context.default_root() == root.path


def test_other_users_have_no_host_root(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert host_context.default_root() is None


def test_a_home_without_host_settings_is_not_used(root: Root) -> None:
    root.host_settings_path.unlink()
    assert host_context.default_root() is None


def test_root_switches_to_the_account(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[list[str], str]] = []

    def execvpe(_program: str, argv: list[str], environment: dict[str, str]) -> None:
        became.append((argv, environment["HOME"]))
        raise SystemExit

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "execvpe", execvpe)
    monkeypatch.setattr(sys, "argv", ["pushrod", "restart", "--app", "shop"])
    with ask("restart"), pytest.raises(SystemExit):
        find_root(str(root.path))
    ((argv, home),) = became
    assert argv[:5] == ["setpriv", "--reuid=4242", "--regid=4242", "--init-groups", "--"]
    assert argv[-6:] == ["-P", "-m", "pushrod", "restart", "--app", "shop"]
    assert home == str(root.path)


def test_root_stays_root_where_there_is_no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "execvpe", lambda *_: pytest.fail("became somebody else"))
    with ask():
        assert find_root(str(tmp_path)).path == tmp_path


def test_verbs_that_only_root_may_call_stay_root(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "execvpe", lambda *_: pytest.fail("became somebody else"))
    top = click.Context(click.Command("pushrod"), info_name="pushrod")
    apps = click.Context(click.Command("apps"), info_name="apps", parent=top)
    with click.Context(click.Command("allow"), info_name="allow", parent=apps):
        assert find_root(str(root.path)).path == root.path


def test_a_key_sees_only_its_apps(root: Root) -> None:
    assert [a.name for a in host_context.visible(root)] == ["shop", "zoo"]
    with ask() as context:
        context.meta[host_context.CALLER] = host_context.Caller("alice", root, Reach(("zoo",)))
        assert [a.name for a in host_context.visible(root)] == ["zoo"]
        assert find_root("/srv/another").path == root.path
        assert named_app("/srv/another", None).name == "zoo"
        assert named_app(None, "zoo").name == "zoo"
        with pytest.raises(UnknownNameError, match="this key is not for `shop`"):
            named_app(None, "shop")

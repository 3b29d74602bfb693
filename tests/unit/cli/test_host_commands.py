"""The commands that set a lost host's own settings again."""

import shlex

import msgspec
import pytest
from click.testing import CliRunner

from pushrod.cli import cli, host_commands
from pushrod.core.errors import StateError, UnknownNameError
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import App, HostSettings, Monitor, Root
from pushrod.system import files
from pushrod.web.access import Access

HOOK = "https://hooks.slack.com/services/secret"


def save(root: Root, settings: HostSettings) -> None:
    files.write(root.host_settings_path, msgspec.json.encode(settings))


def test_every_setting_has_its_command(root: Root) -> None:
    save(
        root,
        HostSettings(
            limits={"memory": 2 << 30, "stop_grace": 30.0},
            app_limits={"shop": {"app_tasks": 500}, "plain": {}},
            metrics=9100,
            web=9111,
            monitor=Monitor(9090, 15, 4096, 512),
        ),
    )
    Access(root).invite("ann", "deployer", ["shop"])
    Recipients(root).add(Recipient("alarm", "mailto:ops@example.com", deployments=False))
    Recipients(root).add(Recipient("team", HOOK, "json", ("shop", "blog")))
    assert host_commands.commands(root) == [
        "pushrod host limits memory=2048M stop-grace=30.000",
        "pushrod host limits --app shop app-tasks=500",
        "pushrod host metrics on --port 9100",
        "pushrod host web on --port 9111",
        "pushrod host monitor on --port=9090 --days=15 --disk=4096 --memory=512",
        "pushrod web invite ann --role deployer --app shop",
        "echo mailto:ops@example.com | pushrod host alarm set -",
        f"echo {HOOK} | pushrod host notify add team - --style json --app shop --app blog",
    ]


def test_there_are_none_for_a_host_without_settings(root: Root) -> None:
    assert host_commands.commands(root) == []


def test_the_commands_set_what_was_there(
    root: Root, app: App, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Those that need no root: recipients and members."""
    Recipients(root).add(Recipient("alarm", "mailto:ops@example.com", deployments=False))
    Recipients(root).add(Recipient("team", HOOK, "slack", (app.name,)))
    Access(root).invite("ann", "deployer", [app.name])
    before = Recipients(root).all(), Access(root).members()
    lines = host_commands.commands(root)
    for path in (root.path / "alarm", root.path / "web"):
        files.remove_tree(path)
    for line in lines:
        given, _, verb = line.rpartition(" | ")
        target = "".join(shlex.split(given)[1:])
        words = ["--root", str(root.path), *shlex.split(verb)[1:]]
        CliRunner().invoke(cli, words, input=f"{target}\n", catch_exceptions=False, standalone_mode=False)
    assert (Recipients(root).all(), Access(root).members()) == before


def test_a_line_runs_nothing_else(root: Root) -> None:
    """A copy may have been made by somebody who had the vault's password."""
    hostile = ["https://x/$(id)';id;'", "https://x/\nid", "https://x/\u202eid", "-n x"]
    listed = [Recipient("$(id)", target, "json", ("a;id",)) for target in hostile]
    files.write(root.path / "alarm" / "targets.json", msgspec.json.encode(listed))
    save(root, HostSettings(limits={"memory": 1e300, "pids": -1, "x; id": 4}))
    lines = host_commands.commands(root)
    assert len(lines) == 2
    for line, target in zip(lines, (hostile[0], hostile[3]), strict=True):
        begin, end = (
            ["echo", target, "|"],
            ["pushrod", "host", "notify", "add", "$(id)", "-", "--app", "a;id"],
        )
        assert shlex.split(line) == [*begin, *end]


def test_a_name_that_is_none_or_another_file_is_an_error(root: Root) -> None:
    save(root, HostSettings(app_limits={"$(id)": {"pids": 100}}))
    with pytest.raises(UnknownNameError, match="cannot be an app's name"):
        host_commands.commands(root)
    files.write(root.host_settings_path, "[]")
    with pytest.raises(StateError):
        host_commands.commands(root)

"""What a key may ask for: Git's services, and the parameters of a call, each by its kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import gate
from pushrod.provisioning.gate import Git
from pushrod.provisioning.kinds import Reach

ALL, SHOP = Reach(), Reach(("shop",))


def parse_call(command: str, reach: Reach = ALL) -> Git | None:
    return gate.git_call(gate.divide(command), reach)


@pytest.mark.parametrize("path", ["shop", "/shop", "shop.git", "/shop.git", "~/shop", "shop/"])
def test_a_push_and_a_fetch_are_accepted(path: str) -> None:
    assert parse_call(f"git-receive-pack '{path}'") == Git("receive-pack", "shop", makes=True)
    assert parse_call(f"git-upload-pack '{path}'", SHOP) == Git("upload-pack", "shop")
    assert parse_call(f"git receive-pack '{path}'") == Git("receive-pack", "shop", makes=True)


def test_a_push_can_require_an_existing_app() -> None:
    assert parse_call("git-receive-pack --there 'shop'") == Git("receive-pack", "shop")
    with pytest.raises(UnknownNameError, match="takes one app"):
        parse_call("git-receive-pack --there")


@pytest.mark.parametrize(
    "command",
    [
        "git-receive-pack '../etc'",
        "git-receive-pack '/var/lib/pushrod/apps/shop/repo.git'",
        "git-receive-pack 'victim/../shop'",
        "git-receive-pack 'shop/../victim'",
        "git-receive-pack 'shop//'",
        "git-receive-pack '~root/shop'",
        "git-receive-pack shop zoo",
        "git-receive-pack",
        "git-receive-pack ''",
        "git-receive-pack --help",
        "git-receive-pack --stateless-rpc shop",
        "git-receive-pack --there --there shop",
        "git-upload-pack --there shop",
        "git-upload-pack --timeout=1 shop",
        "git-upload-pack --strict /",
    ],
)
def test_other_repositories_and_git_options_are_refused(command: str) -> None:
    with pytest.raises(UnknownNameError):
        parse_call(command)


@pytest.mark.parametrize("command", ["git-upload-archive shop", "git daemon", "git", "gitreceive-pack shop"])
def test_other_git_commands_are_not_git_calls(command: str) -> None:
    assert parse_call(command) is None


@pytest.mark.parametrize(
    "command", ["git-lfs-authenticate shop.git upload", "git-lfs-transfer /shop.git upload"]
)
def test_the_error_for_an_lfs_client_explains_a_push_without_lfs(command: str) -> None:
    with pytest.raises(UnknownNameError, match="accepts no Git LFS files") as refused:
        parse_call(command)
    assert "git push --no-verify pushrod HEAD:main" in refused.value.hint


def test_a_key_restricted_to_apps_works_only_for_them() -> None:
    assert parse_call("git-receive-pack shop", Reach(("blog", "shop"))) == Git("receive-pack", "shop")
    with pytest.raises(UnknownNameError, match="this key is not for `zoo`") as refused:
        parse_call("git-receive-pack zoo", Reach(("shop", "blog")))
    assert refused.value.hint == "it is for blog, shop"


def test_words_are_split_without_running_a_shell() -> None:
    assert gate.divide("pushrod logs '; id' $(id) `id`") == ["logs", "; id", "$(id)", "`id`"]
    assert gate.divide(" \n") == []


@pytest.mark.parametrize("command", ["unbalanced '", "x " * (gate.MOST_WORDS + 1)])
def test_a_malformed_command_is_refused(command: str) -> None:
    with pytest.raises(UnknownNameError, match="this key may not do that"):
        gate.divide(command)


def test_an_unclassified_parameter_is_refused() -> None:
    gate.judge("restart", {"app_name": "shop", "root": None}, SHOP)
    with pytest.raises(UnknownNameError, match="`restart` accepts no host_directory from a key"):
        gate.judge("restart", {"app_name": "shop", "host_directory": None}, SHOP)
    with pytest.raises(UnknownNameError, match="--root of `restart`: a key cannot set it"):
        gate.judge("restart", {"root": "/srv"}, ALL)


@pytest.mark.parametrize("path", [path for path, rule in gate.VERBS.items() if rule.all_apps])
def test_a_verb_about_every_app_needs_a_key_for_all(path: str) -> None:
    assert gate.rule(path, ALL)
    with pytest.raises(UnknownNameError, match="needs a key for all apps"):
        gate.rule(path, SHOP)


def test_the_greeting_names_the_key_and_its_permissions() -> None:
    assert gate.greeting("alice", ["shop"]).startswith("alice: you may push to shop, and run down, plan")
    assert "every app" in gate.greeting("alice", ())
    assert "\n" not in gate.greeting("alice", ())


@given(st.text())
@pytest.mark.slow
def test_any_words_give_a_git_call_or_none(command: str) -> None:
    try:
        result = parse_call(command, SHOP)
    except UnknownNameError:
        return
    assert result is None or result.app == "shop"


@pytest.mark.parametrize("path", ["deploy/compose.yaml", "docker-compose.prod.yml", ""])
def test_a_key_may_set_a_compose_file_only_inside_the_repository(path: str) -> None:
    """Whoever pushes to an app decides about it anyway, so a key for some apps may set it for these."""
    gate.judge("apps set", {"name": "shop", "settings": (f"file={path}",), "root": None}, SHOP)
    for wrong in ("/etc/passwd", "../x.yaml", "/x.yaml", "-", "--root.yaml", "oci://x/y.yaml"):
        with pytest.raises(UnknownNameError, match="settings of `apps set`"):
            gate.judge("apps set", {"name": "shop", "settings": (f"file={wrong}",), "root": None}, SHOP)
        with pytest.raises(UnknownNameError, match="file of `plan`"):
            gate.judge("plan", {"file": wrong}, SHOP)


@pytest.mark.parametrize(
    "setting", ["port=1", "allowed=privileged", "file", "=x", "name=zoo", "file=a.yaml x"]
)
def test_a_key_may_not_set_other_settings_of_an_app(setting: str) -> None:
    with pytest.raises(UnknownNameError):
        gate.judge("apps set", {"name": "shop", "settings": ("file=a.yaml", setting), "root": None}, SHOP)


def test_a_key_may_not_set_the_compose_file_of_another_app() -> None:
    with pytest.raises(UnknownNameError, match="this key is not for `zoo`"):
        gate.judge("apps set", {"name": "zoo", "settings": ("file=a.yaml",), "root": None}, SHOP)


def test_a_plan_accepts_sha1_and_sha256_commit_names() -> None:
    for digits in (40, 64):
        gate.judge("plan", {"ref": "a" * digits}, SHOP)
    for digits in (39, 41, 63, 65):
        with pytest.raises(UnknownNameError):
            gate.judge("plan", {"ref": "a" * digits}, SHOP)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("secret set KEY=value --app shop", "secret set KEY --app shop"),
        ("secret set KEY value", "secret set KEY …"),
        ("secret set --app shop KEY my value", "secret set --app shop KEY … …"),
        ("secret set -- KEY value", "secret set -- KEY …"),
        ("secret set KEY - --app=shop", "secret set KEY - --app=shop"),
        ("secret set --value value KEY", "secret set --value … …"),
        ("secret set --value=value KEY", "secret set --value=… …"),
        ("secret set KEY -v value", "secret set KEY -v …"),
        ("secret set KEY --app", "secret set KEY --app"),
        ("secret unset KEY", "secret unset KEY"),
        ("run echo secret set", "run echo secret set"),
    ],
)
def test_typed_values_are_not_recorded(words: str, expected: str) -> None:
    assert gate.without_values(words.split()) == expected.split()

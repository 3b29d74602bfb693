"""What the owner of a key may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.cli import _VERBS
from pushrod.errors import UnknownNameError
from pushrod.hosting import gate
from pushrod.hosting.gate import Git, Verb


@pytest.mark.parametrize("path", ["shop", "/shop", "shop.git", "/shop.git", "~/shop", "shop/"])
def test_a_push_and_a_fetch(path: str) -> None:
    assert gate.read(f"git-receive-pack '{path}'", ()) == Git("receive-pack", "shop", makes=True)
    assert gate.read(f"git-upload-pack '{path}'", ["shop"]) == Git("upload-pack", "shop")
    assert gate.read(f"git receive-pack '{path}'", ()) == Git("receive-pack", "shop", makes=True)


def test_a_push_that_must_not_make_the_app() -> None:
    assert gate.read("git-receive-pack --there 'shop'", ()) == Git("receive-pack", "shop")
    with pytest.raises(UnknownNameError, match="takes one app"):
        gate.read("git-receive-pack --there", ())


@pytest.mark.parametrize(
    "command",
    [
        "git-receive-pack '../etc'",
        "git-receive-pack '/var/lib/pushrod/apps/shop/repo.git'",
        "git-receive-pack shop zoo",
        "git-receive-pack",
        "git-receive-pack ''",
        "git-receive-pack --help",
        "git-upload-archive shop",
        "git daemon",
    ],
)
def test_no_other_repository_and_no_other_half_of_git(command: str) -> None:
    with pytest.raises(UnknownNameError):
        gate.read(command, ())


def test_a_key_of_some_apps_is_for_those() -> None:
    assert gate.read("git-receive-pack shop", ["blog", "shop"]) == Git("receive-pack", "shop")
    with pytest.raises(UnknownNameError, match="this key is not for `zoo`") as refused:
        gate.read("git-receive-pack zoo", ["shop", "blog"])
    assert refused.value.hint == "it is for blog, shop"


@pytest.mark.parametrize(
    "words", ["status", "pushrod status", "logs -f backend", "exec api -- sh -c 'a b'", "db restore 2026"]
)
def test_a_verb_that_is_allowed(words: str) -> None:
    read = gate.read(words, ())
    assert isinstance(read, Verb)
    assert words.endswith(" ".join(read.argv[:1]) + words.partition(read.argv[0])[2])


def test_words_are_divided_and_never_run_by_a_shell() -> None:
    assert gate.read("logs '; id' $(id) `id`", ()) == Verb(("logs", "; id", "$(id)", "`id`"))


@pytest.mark.parametrize(
    "command",
    [
        *(
            "bash",
            "sh -c id",
            "scp -t /",
            "rsync --server .",
            "/usr/lib/openssh/sftp-server",
            "internal-sftp",
        ),
        *(
            "host init",
            "host keys add",
            "hook shop pre-receive",
            "gate root",
            "new x",
            "up",
            "deploy",
            "prune",
        ),
        *("db", "db drop", "db backup --root /srv"),
        *("apps allow shop privileged", "apps", "secret", "secret import /etc/passwd", "secret import"),
        *(
            "secret import /etc/passwd --app -",
            "image load /var/lib/x.tar",
            "image",
            "down /srv",
            "status --root /tmp",
            "status --root=/tmp",
        ),
        *("cert", "cert set --certificate /etc/key.pem", "cert set --certificate - --key /etc/key.pem"),
        *(
            "cert set --key /etc/key.pem --certificate -",
            "cert set --certificate - --app x --key /etc/key.pem",
        ),
        *("--root /tmp status", "--version", "pushrod", "status; id", "unbalanced '"),
    ],
)
def test_everything_else_is_refused(command: str) -> None:
    with pytest.raises(UnknownNameError, match="this key may not do that") as refused:
        gate.read(command, ())
    assert "git push and fetch" in refused.value.hint


@pytest.mark.parametrize("command", ["doctor", "apps create x", "apps destroy shop --yes", "image load -"])
def test_what_is_about_every_app_is_for_a_key_of_all(command: str) -> None:
    assert gate.read(command, ())
    with pytest.raises(UnknownNameError, match="is for a key of all apps"):
        gate.read(command, ["shop"])


def test_the_words_of_a_program_are_its_own() -> None:
    assert gate.read("run -- tool --root /x", ()) == Verb(("run", "--", "tool", "--root", "/x"))


def test_only_verbs_that_are_there_are_allowed() -> None:
    assert set(gate.VERBS) <= set(_VERBS)
    assert not {"host", "gate", "hook", "up", "new"} & set(gate.VERBS)


@pytest.mark.parametrize("command", ["", " ", "\n"])
def test_who_asks_for_nothing_is_told_who_they_are(command: str) -> None:
    assert gate.read(command, ()) is None
    assert gate.greeting("alice", ["shop"]).startswith("alice: you may push to shop, and run status")
    assert "every app" in gate.greeting("alice", ())
    assert "\n" not in gate.greeting("alice", ())


@given(st.text())
def test_no_words_are_anything_but_allowed_or_refused(command: str) -> None:
    try:
        read = gate.read(command, ["shop"])
    except UnknownNameError:
        return
    assert read is None or isinstance(read, Git) or read.argv[0] in gate.VERBS

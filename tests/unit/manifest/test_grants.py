"""The words of `pushrod apps allow`, and what each of them covers."""

import pytest

from pushrod.core.errors import UnknownNameError
from pushrod.manifest import grants
from pushrod.manifest.grants import check_word, covered


@pytest.mark.parametrize(
    "word", [*grants.WORDS, "NET_ADMIN", "volume:shop-data", "vault:offsite", "/srv/media", "/"]
)
def test_a_valid_word_is_unchanged(word: str) -> None:
    assert check_word(word) == word


def test_servers_of_submodules_are_read() -> None:
    words = [
        check_word(f"submodules:{at}") for at in ("Git.Example.com:443", "git.example.com:8443", "10.0.0.1")
    ]
    assert grants.servers([*words, "/srv"]) == ["git.example.com", "git.example.com:8443", "10.0.0.1"]


def test_words_are_normalized() -> None:
    assert [check_word(w) for w in ("CAP_NET_ADMIN", "sys_time")] == ["NET_ADMIN", "SYS_TIME"]
    assert [check_word(w) for w in ("/srv//media/", "//srv/../etc", "/var/run/x")] == [
        "/srv/media",
        "/etc",
        "/run/x",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "everything",
        "CHOWN",
        "CAP_CHOWN",
        "ALL",
        "srv/media",
        "volume:",
        "volume:/x",
        "vault:",
        "vault:../x",
        "submodules:",
        "submodules:https://x",
    ],
)
def test_an_invalid_word_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        check_word(text)
    assert "docker-socket" in error.value.hint


def test_the_nearest_word_is_named() -> None:
    with pytest.raises(UnknownNameError) as error:
        check_word("privilege")
    assert error.value.hint.startswith("did you mean `privileged`?")


def test_default_and_other_capabilities_are_distinguished() -> None:
    assert len(grants.DEFAULT_CAPABILITIES) == 14
    assert len(grants.DEFAULT_CAPABILITIES | grants.CAPABILITIES) == 41  # CAP_LAST_CAP is 40


@pytest.mark.parametrize(
    ("word", "allowed", "answer"),
    [
        ("/srv/media", ["/srv/media"], True),
        ("/srv/media/x", ["/srv/media"], True),
        ("/srv/media-2", ["/srv/media"], False),
        ("/srv", ["/srv/media"], False),
        ("/etc/shadow", ["/"], True),
        ("docker-socket", ["/", "privileged"], False),
        ("NET_ADMIN", ["NET_ADMIN"], True),
        ("NET_ADMIN", ["SYS_ADMIN"], False),
        ("NET_ADMIN", ["privileged"], True),
        ("ALL", ["privileged"], True),
        ("ALL", ["SYS_ADMIN"], False),
        ("host-pid", ["privileged"], False),
        ("volume:x", ["/", "privileged"], False),
    ],
)
def test_each_permission_covers_the_expected_requests(word: str, allowed: list[str], answer: bool) -> None:
    assert covered(word, allowed) is answer

"""Values that know their path, and durations as Compose writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import ManifestError
from pushrod.manifest.document import Key, duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("1h0m0s", 3600),
        ("1d", 86400),
        ("10us", 1e-5),
        ("0", 0),
        ("", None),
        ("30", None),
        ("s", None),
        ("1m 30s", None),
        ("-5s", None),
        ("1m30", None),
    ],
)
def test_durations_are_parsed(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
@pytest.mark.slow
def test_duration_adds_its_parts(hours: int, minutes: int, seconds: int, milliseconds: int) -> None:
    result = duration(f"{hours}h{minutes}m{seconds}s{milliseconds}ms")
    assert result == pytest.approx(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000)


@pytest.mark.slow
@given(st.text())
def test_parsing_a_duration_never_fails(text: str) -> None:
    result = duration(text)
    assert result is None or result >= 0


def refusal(key: Key, method: str, *arguments: object) -> ManifestError:
    with pytest.raises(ManifestError) as refused:
        getattr(key, method)(*arguments)
    return refused.value


def test_paths_name_every_step() -> None:
    key = Key("", {"services": {"web": {"ports": [1, {"target": "x"}]}}})
    port = key.get("services").get("web").get("ports").sequence()[1].get("target")
    assert port.path == "services.web.ports[1].target"
    assert refusal(port, "whole", 0).where == "services.web.ports[1].target"


def test_an_absent_key_has_defaults_and_a_path() -> None:
    key = Key("services.web", {}).get("deploy").get("replicas")
    assert key.path == "services.web.deploy.replicas"
    assert (key.given, key.whole(3), key.text(), key.words(), key.seconds(2.5)) == (False, 3, "", (), 2.5)


@pytest.mark.parametrize(
    ("value", "method", "arguments", "what"),
    [
        ([], "mapping", (), "expected a mapping, found a list"),
        ("x", "sequence", (), "expected a list, found `x` (text)"),
        (True, "text", (), "expected text, found true (true or false)"),
        ({}, "text", (), "expected text, found a mapping"),
        (2.5, "whole", (1,), "expected a whole number from 0 up, found 2.5 (a number)"),
        (-1, "whole", (1,), "expected a whole number from 0 up, found -1 (a number)"),
        (True, "whole", (1,), "expected a whole number from 0 up, found true (true or false)"),
        ("soon", "seconds", (1.0,), "expected a duration such as 30s or 1m30s, found `soon` (text)"),
        (float("nan"), "seconds", (1.0,), "expected a duration such as 30s or 1m30s, found a number"),
        ("it's", "words", (), "expected a command with its quotes closed, found `it's` (text)"),
        ("maybe", "yes", (), "expected true or false, found `maybe` (text)"),
        (3, "choice", ("a", "b"), "expected a or b, found 3 (a number)"),
    ],
)
def test_a_wrong_value_is_reported_with_the_expected_one(
    value: object, method: str, arguments: tuple[object, ...], what: str
) -> None:
    refused = refusal(Key("a.b", value), method, *arguments)
    assert (refused.what, refused.where) == (what, "a.b")


def test_an_unknown_key_is_refused_with_the_nearest_valid_one() -> None:
    refused = refusal(Key("x-pushrod", {"helth": 1}), "only", "health", "release", "role")
    assert refused.what == "unknown key `helth`"
    assert refused.where == "x-pushrod.helth"
    assert refused.hint == "did you mean `health`? valid here: health, release, role"


def test_an_unknown_key_without_a_similar_one_lists_all() -> None:
    assert refusal(Key("x", {"zzz": 1}), "only", "health", "role").hint == "valid here: health, role"


def test_words_are_split_as_by_a_shell_or_taken_from_a_list() -> None:
    assert Key("", "sh -c 'a && b'").words() == ("sh", "-c", "a && b")
    assert Key("", ["sh", "-c", "a && b"]).words() == ("sh", "-c", "a && b")


def test_numbers_may_be_text() -> None:
    assert Key("", "8000").whole(0) == 8000
    assert Key("", 90).seconds(0) == 90.0
    assert Key("", "1m30s").seconds(0) == 90.0

"""Text chosen by others is one harmless line."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.printable import plain

EVIL = "evil \x1b]0;title\x07\x1b[2J\x1b[1A\x9b2J \x00\x7f\u202etxt.exe\u2066\u2028\udc80 end"
TAME = "evil \\x1b]0;title\\x07\\x1b[2J\\x1b[1A\\x9b2J \\x00\\x7f\\u202etxt.exe\\u2066\\u2028\\udc80 end"


def _is_tame(text: str) -> bool:
    return all(c.isprintable() or c in "\t\xa0\u2009\u202f\u3000\u200c\u200d" for c in text)


def test_control_characters_are_shown_as_escapes() -> None:
    assert plain(EVIL) == TAME


@pytest.mark.parametrize(
    "text", ["", "größe", "日本語\u3000x", "10\xa0000 €", "نمی\u200cخواهم", "👩\u200d💻", "a\tb", "e\u0301"]
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert plain(text) == text


@pytest.mark.slow
@given(st.text())
def test_no_text_produces_terminal_control_characters(text: str) -> None:
    assert _is_tame(plain(text))
    assert _is_tame(plain("\x1b[" + text + "m"))


@given(st.text(alphabet="\x1b[;m01a", max_size=40))
def test_kept_colours_are_complete_and_end_with_the_line(text: str) -> None:
    result = plain(text, colours=True)
    assert _is_tame(re.sub(r"\x1b\[[0-9;]*m", "", result))
    assert "\x1b" not in result or result.endswith("\x1b[0m")


def test_colours_are_removed_unless_requested_and_cannot_hide_text() -> None:
    assert plain("\x1b[31mred\x1b[0m") == "red"
    assert plain("\x1b[1;31mred", colours=True) == "\x1b[1;31mred\x1b[0m"
    for hides in (
        "8",
        "30",
        "40",
        "7",
        "5",
        "38;5;0",
        "30;47",
        "0;8",
        "1;38;2;0;0;0",
        "37",
        "97",
        "48:2:0:0:0",
    ):
        assert plain(f"\x1b[{hides}mtext", colours=True) == "text", hides


def test_removing_a_colour_does_not_form_another_sequence() -> None:
    assert plain("\x1b\x1b[0m[2J", colours=False) == "\\x1b[2J"
    assert plain("\x1b\x1b[0m[2J", colours=True) == "\\x1b\x1b[0m[2J\x1b[0m"


def test_a_carriage_return_is_removed_only_at_the_end() -> None:
    assert plain("a line of Windows\r") == "a line of Windows"
    assert plain("hidden\rshown") == "hidden\\rshown"

"""Splitting program output into lines: only a newline ends one, and no byte is an error."""

import pytest

from pushrod.core import lines


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", []),
        ("\n", [""]),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\r\x0b\x0c\x1c\x85\u2028\u2029b\n", ["a\r\x0b\x0c\x1c\x85\u2028\u2029b"]),
    ],
)
def test_only_a_newline_ends_a_line(text: str, result: list[str]) -> None:
    assert lines.split(text) == result


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    assert lines.decode("größe ".encode() + b"\xff") == "größe \ufffd"


def test_a_text_cut_within_a_character_starts_at_the_next_one() -> None:
    assert lines.after_cut("€ and more".encode()[1:]) == "[…]  and more"

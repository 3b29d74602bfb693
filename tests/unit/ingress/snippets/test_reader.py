"""Snippets are read as nginx reads them, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import ManifestError
from pushrod.ingress.snippets.reader import Line, lines
from tests.unit.ingress.snippets.asking import check, words


def test_words_are_split_as_nginx_splits_them() -> None:
    assert words('return 200 "a \\"b\\" \\\\ \\d \\t";') == [("return", "200", 'a "b" \\ \\d \t')]
    assert words("add_header A '\"';") == [("add_header", "A", '"')]
    assert words("rewrite ^/a\\;b\\{$ /${x}y;") == [("rewrite", "^/a\\;b\\{$", "/${x}y")]
    assert words('if ($a ~ "b") { break; }')[0] == ("if", "($a", "~", "b", ")")
    assert words('add_header "A#b" 1; # c ; d\nbreak;') == [("add_header", "A#b", "1"), ("break",)]


def test_a_line_has_the_number_of_its_first_word() -> None:
    assert list(lines("\n\nadd_header\n  A\n  1;\n}", "own.conf")) == [
        Line(3, ("add_header", "A", "1"), ";"),
        Line(6, (), "}"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("add_header A b\x0b# ;\n;", "add_header\u00a0A b;", "add_header A b\u2003;", "break\x85;", "break\x00;"),
        *("location /a${ break; }", "types { x/y a${ b; } }", "location /a$x${ break; }", "return 200 a${b;"),
        *('add_header A b"c";', 'add_header A "b"c;', "add_header A 'b'#c;", "add_header A b#c;", "set $own_a b'c;"),
        *('add_header A "b;', "add_header A 'b;", "add_header A b\\", 'return 200 "a\\\nb";', "return 200 a\\ b;"),
        *("location / { break; }}", "break", "break;}", "{ break; }", "location / {", ";", '"a"}', "a};"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("free", [False, True])
def test_ambiguous_syntax_is_refused(text: str, *, free: bool) -> None:
    """Also where the host's owner lets the app say anything: its server is still its own."""
    with pytest.raises(ManifestError):
        check(text, free=free)


@given(st.text(alphabet=" \t\r\n\x0b\x0c\x85\u00a0;{}\"'\\#$()ab", max_size=30))
@pytest.mark.slow
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        check(text, free=True)
    except ManifestError as e:
        assert e.where
        assert e.hint

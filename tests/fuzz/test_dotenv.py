""".env files of any text: they are parsed or refused, and no error message contains a value."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.core.errors import PushrodError
from pushrod.manifest import env_example

PIECES = (
    "A",
    "B_1",
    "=",
    "=",
    '"',
    "'",
    "\\",
    "\\n",
    "\n",
    "\r\n",
    "#",
    " #",
    "$",
    "${A}",
    "${A:-d}",
    "$$",
    "export ",
    " ",
)
MORE = (*PIECES, "\ufeff", "\x00", "\x1b]0;t\x07", "é", "\u2028", "`", "{", "}", ":", "-----BEGIN", "\t")


@given(st.lists(st.one_of(st.sampled_from(MORE), st.text(max_size=3)), max_size=40).map("".join))
@example('A="one\ntwo"\nB=3')
@example("A='")
@example("export")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        result = env_example.parse(text)
    except PushrodError as e:
        assert e.what
        return
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in result.items())


@given(
    st.dictionaries(
        st.from_regex("[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), st.from_regex("[a-z0-9]{0,12}", fullmatch=True)
    )
)
def test_plain_pairs_are_parsed_unchanged(pairs: dict[str, str]) -> None:
    text = "".join(f"{name}={value}\n" for name, value in pairs.items())
    assert env_example.parse(text) == pairs
    assert all(re.fullmatch("[A-Z_][A-Z0-9_]*", name) for name in env_example.parse(text))

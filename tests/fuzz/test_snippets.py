"""An app's own lines of nginx's configuration: any text is read or refused, and what is accepted is matched
quickly."""

import re
import time

from hypothesis import assume, example, given
from hypothesis import strategies as st

from pushrod.core.errors import ManifestError
from pushrod.ingress import regexes, snippets
from pushrod.ingress.snippets import directives

PIECES = (
    *sorted(directives._DIRECTIVES),
    *(" ", " ", " ", ";", "{", "}", "\n", "\t", '"', "'", "\\", "#", "$", "${", "(", ")", "~", "~*", "=", "!~", "^"),
    *("$own_a", "$1", "$args", "$host", "$http_a", "${uri}", "$request_body", "/x", "http://app-shop", "1m", "1h"),
    *("types", "a/b", "^(a+)+$", "^/([^/]+)/(.*)$", "(", "[^/]*", ".*", "{8}", "last", "?", "\x00", "\x1b", "é", "�"),
)  # fmt: skip
ALPHABET = "ab./-_%?&=1 "
ATOMS = ("a", "b", "/", ".", "[ab]", "[^/]", r"\d", r"\w", "-", r"\.")
COUNTS = ("", "", "*", "+", "?", "{2}", "{1,64}", "{3,}", "*?", "++")


def refuses(text: str) -> bool:
    try:
        snippets.check(text, "own.conf", "shop", ("app-shop",))
    except ManifestError as e:
        assert e.where
        assert e.hint
        return True
    return False


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=60).map("".join))
@example("if ($own_a ~ ){break;}")
@example("rewrite;set;location{error_page;}if(){}")
@example("types{" * 9)
def test_any_text_is_read_or_refused(text: str) -> None:
    refuses(text)


@given(st.text(max_size=60))
def test_any_expression_is_read_or_refused(text: str) -> None:
    try:
        assert regexes.read(text).steps >= 0
    except regexes.UnreadableError as e:
        assert str(e)


def patterns() -> st.SearchStrategy[str]:
    one = st.tuples(st.sampled_from(ATOMS), st.sampled_from(COUNTS)).map("".join)
    return st.recursive(
        one,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=5).map("".join),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
            inner.map(lambda text: f"(?:{text})?"),
            inner.map(lambda text: f"(?:{text}){{1,4}}"),
            inner.map(lambda text: f"(?={text})"),
        ),
        max_leaves=12,
    )


@given(
    st.sampled_from(["", "^"]),
    patterns(),
    st.sampled_from(["", "$", "!"]),
    st.text(ALPHABET, min_size=1, max_size=6),
)
@example("^", "[^/]*/[^/]*/a*", "$", "aa/")
@example("", "(?:a|b|ab){1,4}", "!", "ab")
def test_accepted_regexes_are_fast_to_match(start: str, middle: str, end: str, unit: str) -> None:
    """With Python's own matcher, which backtracks as PCRE does, over the longest text that nginx matches."""
    pattern = start + middle + end
    assume(not refuses(f'location ~ "{pattern}" {{ break; }}'))
    matched = re.compile(pattern.replace("++", "+"))
    text = (unit * regexes.LONGEST_TEXT)[: regexes.LONGEST_TEXT]
    for subject in (text, text[:-1] + "\n", text[:-1] + "!", "/" + text[1:]):
        began = time.process_time()
        matched.search(subject)
        assert time.process_time() - began < 5, (pattern, unit)

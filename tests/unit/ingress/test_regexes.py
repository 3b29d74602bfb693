"""The computed cost of an expression, compared with a matcher that backtracks as PCRE does."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pushrod.ingress import regexes
from pushrod.ingress.regexes import _START, UnreadableError, _Characters, _Group, _Part, _Place, _Reader, read

FEW = 300_000
"""A number of steps that takes little time."""


@pytest.mark.parametrize(
    "text",
    [
        *(
            "^/old/(.*)$",
            "^/([^/]+)/(.*)$",
            r"^/a/(\d+)/(\w+)$",
            r"\.(?:css|js|png|jpg|jpeg|gif|ico|woff2?)$",
        ),
        *(
            r"^(.+)\.html$",
            "^/(?!api/|static/)",
            "x-forwarded|-f",
            r"^/(?:a|b){2}/(?<!x)(\d+)$",
            "^www[.](.+)$",
        ),
        *("^/blog(/|$)(.*)$", r"^[^\s?#]*$", r"^\/(en|de)(?:-[A-Z]{2})?\/"),
        "^https?://(?:[a-z0-9-]+[.]){1,4}org(?:/|$)",
        *(r"MSIE [1-6]\.", "^/a|^/b", r"\bGooglebot\b", r"^/[\w.~-]{1,64}/$", "^/x++y", "^/.*?$", ""),
    ],
)
def test_common_regexes_have_a_low_cost(text: str) -> None:
    assert read(text).steps < FEW


@pytest.mark.parametrize(
    "text",
    [
        "^/(.*)/x/(.*)$",
        "a.*b.*c",
        "/x/(.*)y",
        "^.*a.*b",
        "^(?:a|a){8}(?:a|a){8}(?:a|a){8}$",
        "(.*),(.*),(.*)",
        r"\s+$",
    ],
)
def test_slow_regexes_have_a_high_cost(text: str) -> None:
    assert read(text).steps > 10 * FEW


@pytest.mark.parametrize(
    "text",
    [
        *("^(a+)+$", "(a|aa)+", "(?:a*)*", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a{1,9}){1,9}", "(.*)*", "(a)\\1"),
        *(
            "(?<x>a)",
            "(?P<x>a)",
            "(?'x'a)",
            "(?i)a",
            "(?R)",
            "(?>a)",
            "(?1)",
            "(*NO_JIT)a",
            "(?#a)",
            "(?|a|b)",
        ),
        *(
            "[[:alpha:]]",
            "[]a]",
            "[a",
            "(a",
            "a)",
            "a{2,1}",
            "a{,2}",
            "a{x}",
            "a{1001}",
            "\\x61",
            "\\1",
            "\\",
        ),
        *(
            "é",
            "\x00",
            "a\nb",
            "*a",
            "+",
            "a{1}{2}",
            "(" * 9 + ")" * 9,
            "a" * 501,
            "\\p{L}",
            "[a-\\d]",
            "[z-a]",
            "a**",
            "\\Qa",
        ),
        "((((((a){8}){8}){8}){8}){8}){8}",
    ],
)
def test_unsupported_syntax_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        read(text)
    assert str(caught.value)


def test_groups_are_counted() -> None:
    assert (read("^(a)(?:b)(c)$").groups, read("^(a)(?:b)(c)$").nested) == (2, False)
    assert read("^(a(b))").nested
    assert not read("^(?:a(b))(c)").nested


# ---- compared with a matcher
# --------------------------------------------------------------------------------------

SHORT = 7
"""Characters of a text on which all ways to match are tried."""


class Matcher:
    """Tries every way as PCRE does, without its optimisations, and counts the positions it visits."""

    def __init__(self, text: str) -> None:
        self.text, self.looked = text, 0

    def search(self, branches: Sequence[Sequence[_Part]]) -> bool:
        if all(list(b[:1]) == [_START] for b in branches):
            return self.either(branches, 0, lambda _: True)
        return any(self.either(branches, at, lambda _: True) for at in range(len(self.text) + 1))

    def either(self, branches: Sequence[Sequence[_Part]], at: int, then: Callable[[int], bool]) -> bool:
        return any(self.sequence(b, at, then) for b in branches)

    def sequence(self, parts: Sequence[_Part], at: int, then: Callable[[int], bool]) -> bool:
        if not parts:
            return then(at)
        first, rest = parts[0], parts[1:]
        return self.one(first, at, lambda behind: self.sequence(rest, behind, then))

    def one(self, part: _Part, at: int, then: Callable[[int], bool]) -> bool:
        match part:
            case _Place():
                self.looked += 1
                ends = at == len(self.text) or self.text[at:] == "\n"
                return {"^": at == 0, "$": ends}.get(part.kind, True) and then(at)
            case _Characters():
                return any(then(behind) for behind in self.repeated(part, at))
            case _Group():
                if part.ahead:
                    self.either(part.branches, at, lambda _: True)
                    return then(at)
                return self.either(part.branches, at, then) or (part.optional and then(at))

    def repeated(self, part: _Characters, at: int) -> Iterator[int]:
        end = at
        while end - at < part.most:
            self.looked += 1
            if end == len(self.text) or not part.characters >> ord(self.text[end]) & 1:
                break
            end += 1
        yield from range(end, at + part.least - 1, -1)


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "$", "\\b", "a", "[^b]"])
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "*?"])


@st.composite
def atoms(draw: st.DrawFn) -> str:
    atom = draw(ATOMS)
    return atom if atom in ("$", "\\b") else atom + draw(COUNTS)


PATTERNS = st.recursive(
    atoms(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(
            st.sampled_from(["(", "(?:", "(?=", "(?!"]), st.lists(inner, min_size=1, max_size=3).map("|".join)
        ).map(lambda two: f"{two[0]}{two[1]})"),
        inner.map(lambda text: f"(?:{text})?"),
        inner.map(lambda text: f"(?:{text}){{1,2}}"),
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["", "^"]), PATTERNS)
@example("^", "[^a]*$")
@example("^", "(?:a|[ab])(?:b|[ab])$")
@example("", "a*a*b")
@example("^", "[^b]*(?:b|$)a*a*b")
@example("^", "(?:a{1,2}){1,2}b")
def test_the_computed_cost_is_an_upper_bound(start: str, pattern: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(regexes, "LONGEST_TEXT", SHORT)
        result = read(start + pattern)
        assume(result.steps < 10**6)
        branches = _Reader(start + pattern).alternatives(0)
        for text in map("".join, itertools.product("ab\n", repeat=SHORT - 1)):
            matcher = Matcher(text[:SHORT])
            matcher.search(branches)
            assert matcher.looked <= result.steps, text

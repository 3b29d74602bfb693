"""What a client asks a repository to change: one branch is accepted, whatever else is in the list."""

import contextlib
import io

from hypothesis import example, given
from hypothesis import strategies as st

from pushrod.adapters import git, reporting
from pushrod.cli import hook
from pushrod.core.errors import RepositoryError

OID = st.sampled_from(("0" * 40, "1" * 40, "a" * 40, "1" * 64))
NAMES = st.one_of(
    st.sampled_from(("refs/heads/main", "refs/heads/dev", "refs/tags/v1", f"refs/plans/{'1' * 40}", "HEAD")),
    st.sampled_from(("refs/heads/main\x1b[2J", "refs/heads/\u202emain", "refs/heads/main\u2028x", "", "a\x85")),
    st.text(max_size=20),
)  # fmt: skip
LINES = st.tuples(OID, OID, NAMES).map(" ".join)


@given(st.lists(LINES, max_size=4).map("\n".join), st.sampled_from(("", "\n")))
@example("", "")
@example("x", "\n")
@example(f"{'0' * 40} {'1' * 40} refs/heads/main\n" * 3000, "")
def test_only_the_deployed_branch_or_a_plan_is_accepted(text: str, end: str) -> None:
    try:
        result = hook._one_update(hook._parsed(text + end))
    except RepositoryError as e:
        assert e.hint
        return
    assert result.ref in ("refs/heads/main", f"{git.PLANS}/{result.new}")
    assert result.new != git.ZERO
    assert all(line.split(" ", 2)[2:] == [result.ref] for line in text.split("\n") if line.count(" ") >= 2)


@given(st.text(max_size=30))
def test_a_ref_name_with_control_characters_is_refused_and_escaped(name: str) -> None:
    from pushrod.core.printable import plain

    try:
        hook._one_update(hook._parsed(f"{'0' * 40} {'1' * 40} refs/heads/{name}\n"))
    except RepositoryError as e:
        assert all(c.isprintable() or c in "\t\xa0\u2009\u202f\u3000\u200c\u200d" for c in plain(e.what))
    else:
        assert name == "main"


@given(st.binary(max_size=60))
def test_a_torn_conversation_with_git_ends(raw: bytes) -> None:
    with contextlib.suppress(
        ValueError, RecursionError
    ):  # the peer is Git itself: what it never sends may raise an error
        reporting.read_packets(io.BytesIO(raw))

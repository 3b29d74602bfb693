"""The size of an expanded compose file is known before it is read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters.reading_limits import Reading, check_size, check_yaml
from pushrod.core.errors import ManifestError

MOST = Reading(size=100_000, values=1_000)


def nested(levels: int, width: int = 9) -> str:
    """A few lines of YAML that expand to `width ** levels` values."""
    lines = [f"x-0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join([*lines, "services: {web: {build: ., ports: ['80']}}", ""])


@pytest.mark.parametrize("levels", [4, 7, 50])
def test_nested_aliases_count_as_often_as_they_expand(levels: int) -> None:
    with pytest.raises(ManifestError, match="more than 1000 values") as e:
        check_yaml(nested(levels).encode(), MOST, "compose.yaml")
    assert e.value.where.startswith("compose.yaml:")
    assert "pushrod host limits manifest-values=2000" in e.value.hint


def test_expanding_mappings_merges_and_keys_are_refused() -> None:
    for text in (
        "a: &a {x: 1, y: 2}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(400)),
        "a: &a " + "[" * 20 + "x" + "]" * 20 + "\n" + "".join(f"b{n}: *a\n" for n in range(100)),
        "? &k [1, 2, 3]\n: x\n" + "".join(f"b{n}: *k\n" for n in range(400)),
    ):
        with pytest.raises(ManifestError, match="values"):
            check_yaml(text.encode(), MOST, "f")


def test_common_uses_of_aliases_are_accepted() -> None:
    text = (
        "x-web: &web\n  restart: always\n  environment: &env {A: 1}\n"
        + "services:\n"
        + "".join(f"  s{n}:\n    <<: *web\n    environment: {{<<: *env, B: {n}}}\n" for n in range(50))
    )
    check_yaml(text.encode(), Reading(), "compose.yaml")


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: {c: *a}}\n", "a: *nothing\n"])
def test_a_recursive_alias_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="alias of itself"):
        check_yaml(text.encode(), MOST, "f")


@pytest.mark.parametrize("text", ["[" * 100 + "]" * 100, "{a: " * 100 + "}" * 100, "- " * 100 + "x"])
def test_a_deeply_nested_file_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="more than 64 levels deep"):
        check_yaml(text.encode(), MOST, "f")


def test_a_large_file_is_refused_by_its_size() -> None:
    with pytest.raises(
        ManifestError, match=r"100001 bytes, and a file that is read .* at most 100000 bytes"
    ) as e:
        check_size(100_001, MOST, "f")
    assert "pushrod host limits manifest-size=1M" in e.value.hint


def test_anchors_are_valid_only_in_their_document() -> None:
    with pytest.raises(ManifestError, match="an unknown alias"):
        check_yaml(b"a: &a 1\n---\nb: *a\n", MOST, "f")


@pytest.mark.parametrize("text", [b"[", b"\xff\xfe", b"a: b: c", b"\0", b"%YAML 9\n---\n", b""])
def test_invalid_yaml_is_left_to_the_loader(text: bytes) -> None:
    check_yaml(text, MOST, "f")


@pytest.mark.slow
@given(st.recursive(st.text("abc", max_size=5), lambda inner: st.lists(inner, max_size=4), max_leaves=30))
def test_the_value_limit_is_exact(value: object) -> None:
    import json

    def count(v: object) -> int:
        return 1 + sum(map(count, v)) if isinstance(v, list) else 1

    raw = json.dumps(value).encode()
    check_yaml(raw, Reading(values=count(value)), "f")
    if count(value) > 1:
        with pytest.raises(ManifestError):
            check_yaml(raw, Reading(values=count(value) - 1), "f")


def test_counting_time_is_bounded_by_the_file_size() -> None:
    began = time.process_time()
    with pytest.raises(ManifestError):
        check_yaml(nested(3000, 30).encode(), Reading(1 << 20, 10**9), "f")
    assert time.process_time() - began < 5


@pytest.mark.parametrize("length", [10, 1 << 21])
def test_values_after_a_block_that_begins_with_a_tab_are_counted(length: int) -> None:
    """libyaml stops there with an error; Go's parser, which Compose uses, continues."""
    text = f"a: |\n  \tx\n  {'y' * length}\n{nested(9)}"
    with pytest.raises(ManifestError):
        check_yaml(text.encode(), Reading(size=1 << 20), "compose.yaml")

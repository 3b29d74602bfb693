"""Which variables of `.env.example` still need a value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.manifest import env_example

DOCUMENT: dict[str, Any] = {
    "services": {
        "web": {"environment": {"DEBUG": "0", "TOKEN": None, "EMPTY": "", "PASSWORD": "local-only"}},
        "db": {"image": "postgres"},
    }
}


def names(text: str, *known: str, env_file: bool = False) -> tuple[str, ...]:
    return env_example.names(env_example.parse(text), known, DOCUMENT, env_file=env_file)


def test_names_without_a_value_are_listed_in_order() -> None:
    assert names("STRIPE_KEY=\nA=changeme\n# B=\nPASSWORD=<your password>\n") == (
        "STRIPE_KEY",
        "A",
        "PASSWORD",
    )


def test_names_with_a_known_value_are_not_listed() -> None:
    assert names("STRIPE_KEY=\nDATABASE_URL=\n", "STRIPE_KEY", "DATABASE_URL") == ()


def test_a_name_with_a_value_is_listed_if_a_service_needs_it() -> None:
    text = "PORT=8000\nDEBUG=1\nTOKEN=abc123\nEMPTY=abc123\n"
    assert names(text) == ("TOKEN", "EMPTY")
    assert names(text, "TOKEN") == ("EMPTY",)


def test_with_an_env_file_every_name_is_considered() -> None:
    assert names("DB_HOST=db\nDEBUG=1\n", env_file=True) == ("DB_HOST",)
    assert names("DB_HOST=db\n", "DB_HOST", env_file=True) == ()


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "changeme", "CHANGE_ME", "please-change-me", "xxx", "XXXXXXXX", "<key>", "[key]", "{{ key }}"),
        *("...", "your-api-key", "your_secret_here", "replace_with_key", "put your key here", "todo", "secret"),
        *("my-secret-key", "***", "insert-your-key", "fill in", "null"),
    ],
)  # fmt: skip
def test_placeholders_are_recognized(value: str) -> None:
    assert env_example.is_placeholder(value)


@pytest.mark.parametrize(
    "value", ["0", "true", "postgres", "redis://redis:6379/0", "info", "x1", "yours", "settings"]
)
def test_real_values_are_not_placeholders(value: str) -> None:
    assert not env_example.is_placeholder(value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1", {"A": "1"}),
        ("  A = 1  ", {"A": "1"}),
        ("A=", {"A": ""}),
        ("A=a=b", {"A": "a=b"}),
        ("A='1 # 2'", {"A": "1 # 2"}),
        ('A="1"', {"A": "1"}),
        ('A="1" # why', {"A": "1"}),
        ("A='1'# why", {"A": "1"}),
        ('A="it"s"', {"A": 'it"s'}),
        ('A=""', {"A": ""}),
        ('A="', {"A": '"'}),
        ("A='\"'", {"A": '"'}),
        ("A=1 # why", {"A": "1"}),
        ("A=1#2", {"A": "1#2"}),
        ("A= # why", {"A": ""}),
        ("# A=1", {}),
        ("", {}),
        ("A", {}),
        ("A=postgresql://u:p%23@h/x?a=1#b", {"A": "postgresql://u:p%23@h/x?a=1#b"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
    ],
)
def test_a_line_of_an_env_file_is_parsed(line: str, expected: dict[str, str]) -> None:
    assert env_example.parse(line) == expected


PLAIN = st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)


@pytest.mark.slow
@given(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), PLAIN, max_size=5))
def test_a_quoted_value_is_parsed_unchanged(values: dict[str, str]) -> None:
    values = {n: v for n, v in values.items() if "'" not in v}
    assert env_example.parse("\n".join(f"export {n}='{v}' # '" for n, v in values.items())) == values

"""Which variables of `.env.example` a person still has to give."""

from typing import Any

import pytest

from pushrod.manifest import env_example
from pushrod.state.secrets import parse_dotenv

DOCUMENT: dict[str, Any] = {
    "services": {
        "web": {"environment": {"DEBUG": "0", "TOKEN": None, "EMPTY": "", "PASSWORD": "local-only"}},
        "db": {"image": "postgres"},
    }
}


def names(text: str, *known: str, env_file: bool = False) -> tuple[str, ...]:
    return env_example.names(parse_dotenv(text), known, DOCUMENT, env_file=env_file)


def test_names_without_a_value_are_asked_for_in_their_order() -> None:
    assert names("STRIPE_KEY=\nA=changeme\n# B=\nPASSWORD=<your password>\n") == (
        "STRIPE_KEY",
        "A",
        "PASSWORD",
    )


def test_what_is_known_is_not() -> None:
    assert names("STRIPE_KEY=\nDATABASE_URL=\n", "STRIPE_KEY", "DATABASE_URL") == ()


def test_a_real_value_is_asked_for_where_a_service_would_go_without() -> None:
    text = "PORT=8000\nDEBUG=1\nTOKEN=abc123\nEMPTY=abc123\n"
    assert names(text) == ("TOKEN", "EMPTY")
    assert names(text, "TOKEN") == ("EMPTY",)


def test_with_an_env_file_every_name_is_the_services() -> None:
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
def test_placeholders(value: str) -> None:
    assert env_example.is_placeholder(value)


@pytest.mark.parametrize(
    "value", ["0", "true", "postgres", "redis://redis:6379/0", "info", "x1", "yours", "settings"]
)
def test_values(value: str) -> None:
    assert not env_example.is_placeholder(value)

"""Names of variables, and what is none."""

import base64
import random

import pytest

from pushrod.core.variables import NAME, is_data


@pytest.mark.parametrize("name", ["A", "A-B", "1A", "Ä", "日本", "A[0]", "a.b-c", "_", "-A"])
def test_compose_accepts_these_names(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "A B", "A=B", "A\n", "A/B", "A+", "A$", "A\0"])
def test_compose_refuses_these_names(name: str) -> None:
    assert not NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        *("DB_URL", "dbPassword", "oauth2ClientSecret", "s3AccessKeyId", "ConnectionStrings", "Spring-Profile"),
        *("A-B", "Http2Enabled", "k8sNamespace", "lower", "XAuthToken"),
    ],
)  # fmt: skip
def test_a_name_without_a_value_is_not_data(name: str) -> None:
    assert not is_data(name, "")


def test_most_last_lines_of_an_encoded_key_are_recognized_as_data() -> None:
    made = random.Random(3)
    lines = [base64.b64encode(made.randbytes(3 * made.randrange(4, 16) + 1)).decode() for _ in range(500)]
    lines = [line.replace("+", "A").replace("/", "B") for line in lines]
    result = [line for line in lines if is_data(*line.split("=", 1))]
    assert len(result) > 0.8 * len(lines)
    assert not any(is_data(line.rstrip("="), "value") for line in lines)

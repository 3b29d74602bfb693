"""Tokens with a fixed beginning. No sample stands here whole."""

import random
import string

import pytest

from pushrod.releases import token_forms
from pushrod.releases.token_forms import find

_WORD, _HEX = string.ascii_letters + string.digits, "0123456789abcdef"


def some(length: int, alphabet: str = _WORD) -> str:
    return "".join(random.choices(alphabet, k=length))


TOKENS = {
    "GitHub": "github" + f"_pat_{some(22)}_{some(59)}",
    "npm": "npm" + f"_{some(36)}",
    "OpenAI": "sk-" + f"proj-{some(48)}",
    "OpenAI, service": "sk-" + f"svcacct-{some(48)}",
    "OpenAI, older": "sk-" + f"{some(20)}T3Blbk" + f"FJ{some(20)}",
    "Anthropic": "sk-" + f"ant-api03-{some(93)}AA",
    "OpenRouter": "sk-" + f"or-v1-{some(64, _HEX)}",
    "Google": "AI" + f"za{some(35)}",
    "Google OAuth": "GOC" + f"SPX-{some(28)}",
    "Hugging Face": "h" + f"f_{some(34)}",
    "DigitalOcean": "dop" + f"_v1_{some(64, _HEX)}",
    "Slack, app": "xa" + f"pp-1-A{some(10, string.ascii_uppercase)}-{some(13, string.digits)}-{some(64, _HEX)}",
    "Docker": "dckr" + f"_pat_{some(27)}",
    "Stripe": "whs" + f"ec_{some(32)}",
    "Shopify": "shp" + f"at_{some(32, _HEX)}",
    "Vault": "hv" + f"s.{some(95)}",
    "Grafana": "gl" + f"sa_{some(32)}_{some(8, _HEX)}",
    "Supabase": "sb" + f"p_{some(40, _HEX)}",
    "Telegram": f"{some(10, '123456789')}:A" + f"A{some(33)}",
    "Azure": "Account" + f"Key={some(86)}==;EndpointSuffix=core.windows.net",
    "age": "AGE-SECRET" + f"-KEY-1{some(58, string.ascii_uppercase + string.digits)}",
    "AWS, in a Dockerfile": "aws_secret_access" + f"_key {some(40)}",
    "AWS, JSON in JSON": '{\\"Secret' + f'AccessKey\\": \\"{some(40)}\\"}}',
    "AWS, XML": "<Secret" + f"AccessKey>{some(40)}</SecretAccessKey>",
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_found_in_whatever_form_it_is_written(name: str) -> None:
    token = TOKENS[name]
    for text in (
        token,
        f"A={token}\n",
        f'"key": "{token}",',
        f"x: {token}\r\n",
        f'"A=1\\n{token}"',
        f"a?k%3D{token}",
    ):
        assert token_forms.may_be_in(text.encode())
        assert [t.random for t in find(text)], text
        assert all(text.startswith(t.value, text.find(t.value)) for t in find(text))


@pytest.mark.parametrize("name", [n for n in TOKENS if not n.startswith(("AWS", "Azure", "Telegram"))])
def test_a_part_of_a_longer_word_is_no_token(name: str) -> None:
    assert not [*find(f"abc{TOKENS[name]}")]
    assert name in ("OpenAI", "OpenAI, service", "Vault", "Stripe", "Anthropic") or not [
        *find(f"{TOKENS[name]}{some(300)}")
    ]


def test_a_key_that_browsers_get_is_no_secret() -> None:
    key = TOKENS["Google"]
    for text in (
        f'{{apiKey: "{key}", authDomain: "shop.firebaseapp.com"}}',
        f'"api_key": [{{"current_key": "{key}"}}]',
        f'<script src="https://maps.googleapis.com/maps/api/js?key={key}">',
    ):
        assert not [*find(text)]
    assert [*find(f"GEMINI={key}\nFIREBASE=shop.firebaseapp.com\n")]
    assert [*find(f"MAPS_KEY={key}\n")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (some(40), True),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxx", False),
        ("YOUR_SECRET_KEY_GOES_HERE_123", False),
        ("getTheKeyFromTheStoreWithName", False),
        ("k7cssyT5CyOUR84Ru5hWc14uC7zVFpzbC1Xyv7aB", True),
    ],
    ids=["random", "one letter", "your", "words", "with the letters of your"],
)
def test_a_random_text_is_no_placeholder_and_no_name(text: str, expected: bool) -> None:
    assert token_forms.is_random(text) == expected

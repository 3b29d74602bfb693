"""Every value in a template is escaped, and one harmless line."""

import re
from pathlib import Path

import pytest

from pushrod.web import render

TEMPLATES = Path(render.__file__).parent / "templates"
EVIL = "</p><script>alert(1)</script>\"'\x1b[2J\u202e"


def test_a_value_is_escaped_and_its_control_characters_are_shown() -> None:
    own = {"who": None, "seal": "", "log_in": False, "passkeys": False}
    html = render.page("message.html", {"title": EVIL, "text": EVIL, "hint": EVIL, **own})
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "\\x1b[2J\\u202e" in html


def test_a_missing_value_is_an_error_and_not_an_empty_text() -> None:
    with pytest.raises(Exception, match="undefined"):
        render.page("message.html", {"title": "x"})


@pytest.mark.parametrize("path", sorted(TEMPLATES.iterdir()), ids=lambda p: p.name)
def test_no_template_has_what_the_policy_forbids_or_an_unescaped_value(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\bstyle=|\bon\w+=|<style|javascript:|\|\s*safe|autoescape", text)
    assert not re.search(r"<script(?! src=\"/static/)", text)
    assert not re.search(r"(?:href|action|src)={{", text), "an attribute without quotes"
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text), "an asset from elsewhere"

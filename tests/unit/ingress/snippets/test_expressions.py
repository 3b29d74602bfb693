"""Regular expressions, for which all apps wait."""

import re

import pytest

from pushrod.ingress.snippets import expressions
from tests.unit.ingress.snippets.asking import check, refused

SLOW = "^(a+)+[b-c]{7}$"
EXPRESSIONS = (
    *("if ($arg_q ~ {}) {{ break; }}", "if ($arg_q ~* {}) {{ break; }}", "if ($arg_q !~ {}) {{ break; }}"),
    *("if ( $arg_q !~* {} ) {{ break; }}", "location ~ {} {{ break; }}", "location ~* {} {{ break; }}"),
    *(
        "location ~{} {{ break; }}",
        "location ~*{} {{ break; }}",
        "rewrite {} /x last;",
        "gzip_disable msie6 {};",
    ),
    *(
        "proxy_redirect ~{} /;",
        "proxy_redirect ~*{} /;",
        "proxy_cookie_path ~{} /;",
        "proxy_cookie_domain ~{} a.example;",
    ),
    *(
        "proxy_cookie_flags ~{} secure;",
        "valid_referers none ~{};",
        "location /x {{ valid_referers a.example ~*{}; }}",
    ),
    "location / {{ if ($own_a) {{ rewrite {} /x break; }} }}",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_slow_regex_is_refused_in_every_directive(text: str) -> None:
    bare = re.search(r"~\*?\{\}", text) is not None
    quoted = text.replace("~*{}", '"~*{}"').replace("~{}", '"~{}"') if bare else text.replace("{}", '"{}"')
    error = refused(quoted.format(SLOW))
    assert "a group that is repeated" in error.what
    assert "pushrod apps allow shop nginx" in error.hint
    assert "steps" in refused(quoted.format("^(.*)a(.*)a(.*)$")).what
    check(quoted.format("^/([a-z]+)/$"))
    check(quoted.format(SLOW), free=True)


def test_every_directive_with_a_regex_is_tested() -> None:
    tried = {word for text in EXPRESSIONS for word in re.findall(r"[a-z_]+", text)}
    known = expressions.ALWAYS | expressions.MARKED | expressions.ALL | {"if", "location"}
    assert known <= tried


def test_the_total_cost_of_an_apps_regexes_is_bounded() -> None:
    line = 'if ($arg_q ~ "^(?:[^a]*b){8}") { break; }\n'
    assert "steps" in refused(line * 399).what


@pytest.mark.parametrize(
    "text",
    [
        *(
            "if ($own_a~b) { break; }",
            "if ($own_a ~ a b) { break; }",
            "if $own_a { break; }",
            "if ($own_a) x { break; }",
        ),
        *("if () { break; }", "if ((a) { break; }", "if (a ~ b) { break; }", "if ($own_a = ) { break; }"),
        *(
            "location x { break; }",
            "location = ~a { break; }",
            "location ~ a b { break; }",
            "location { break; }",
        ),
        "location ^~ ~a { break; }",
    ],
)
def test_an_ambiguous_regex_is_refused(text: str) -> None:
    assert "with certainty" in refused(text).what

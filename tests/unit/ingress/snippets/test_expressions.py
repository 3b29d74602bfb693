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
def test_an_expression_that_could_take_for_ever_is_refused_wherever_nginx_knows_one(text: str) -> None:
    bare = re.search(r"~\*?\{\}", text) is not None
    quoted = text.replace("~*{}", '"~*{}"').replace("~{}", '"~{}"') if bare else text.replace("{}", '"{}"')
    error = refused(quoted.format(SLOW))
    assert "a group that is repeated" in error.what
    assert "pushrod apps allow shop nginx" in error.hint
    assert "steps" in refused(quoted.format("^(.*)a(.*)a(.*)$")).what
    check(quoted.format("^/([a-z]+)/$"))
    check(quoted.format(SLOW), free=True)


def test_every_directive_that_knows_expressions_is_tried() -> None:
    tried = {word for text in EXPRESSIONS for word in re.findall(r"[a-z_]+", text)}
    known = expressions.ALWAYS | expressions.MARKED | expressions.ALL | {"if", "location"}
    assert known <= tried


def test_all_expressions_of_an_app_together_have_an_end() -> None:
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
def test_where_an_expression_might_be_is_read_with_certainty(text: str) -> None:
    assert "with certainty" in refused(text).what

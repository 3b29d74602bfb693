"""Variables are those of the request and the answer, and what is kept of them does not double."""

import pytest

from tests.unit.ingress.snippets.asking import check, refused


@pytest.mark.parametrize(
    "name",
    [
        "$away",
        "$must_encrypt",
        "$pool_shop_00c0ffee",
        "$http_authorization",
        "$cookie_a",
        "$own",
        "own_a",
        "$own_a-b",
    ],
)
@pytest.mark.parametrize("directive", ["set", "auth_request_set"])
def test_only_variables_of_the_app_get_a_value(directive: str, name: str) -> None:
    assert "use a name that begins with own_" in refused(f"{directive} {name} x;").hint


@pytest.mark.parametrize(
    "text",
    [
        *(
            'set $own_a "$own_a$own_a";',
            'set $own_a "$own_b$own_c";',
            "set $own_a $1$2;",
            "set $args $args&$args;",
        ),
        *('set $own_a "$own_a$host";', "set $args $arg_a$own_b;", f"set $own_a $own_a-{'x' * 100};"),
        *(
            "set $own_a $host$host$host$host$host;",
            "auth_request_set $own_a $own_a$own_a;",
            "set $own_a ${own_a}${own_a};",
        ),
        *(
            "rewrite ^(.*)$ $1$1 last;",
            "rewrite ^((.)*)$ /$1$2 last;",
            "rewrite ^ /x?$args last;",
            "rewrite ^ /$own_a last;",
        ),
        *(
            "rewrite ^(.*)$ /x?a=$1;",
            "rewrite ^(.*)$ $uri$1 last;",
            "rewrite ^ $uri$uri;",
            "rewrite ^ /$arg_a? last;",
        ),
        *(
            f"rewrite ^/(.*)$ /{'x' * 101}$1 last;",
            "rewrite ^ /$args? last;",
            "rewrite ^(.*)$ $document_uri$uri last;",
        ),
    ],
)
def test_values_that_grow_by_repetition_are_refused(text: str) -> None:
    """nginx comes to a line up to eleven times for one request, and each time with what it has made."""
    text = text.replace("((.)*)", "((a)b)")
    assert refused(text).hint
    check(text, free=True)


@pytest.mark.parametrize(
    "text",
    [
        *(
            'set $own_a "${own_a}A";',
            'set $own_a "$scheme://$host$uri";',
            "set $args $args&x=1;",
            "set $own_a $1;",
        ),
        *("rewrite ^/old/(\\d+)$ /x?id=$1 last;", "rewrite ^/(\\w+)/(\\d+)$ /x?a=$1&b=$2 break;"),
        *("rewrite ^/(\\w+)/(\\d+)$ /$2/$1;", "rewrite ^ https://$host$request_uri permanent;"),
        *("rewrite ^/a/(.*)$ /b/$1? redirect;", "rewrite ^ $scheme://www.$host$request_uri redirect;"),
        *("error_page 401 =302 /login?next=$request_uri;", "return 301 https://$1$request_uri$args$own_a;"),
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "gzip_comp_level 4;",
        "sub_filter </head> '<script src=/own.js></script></head>';",
        "sub_filter http://old.example https://new.example; sub_filter_once off;",
    ],
)
def test_common_uses_of_variables_are_accepted(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "add_header A $request_body;",
            "set $own_a $document_root;",
            "return 200 $realpath_root;",
            "set $own_a $pool_blog;",
        ),
        *(
            "add_header A $given_blog_00c0ffee;",
            "return 200 $hostname;",
            "if ($peer_blog) { break; }",
            "set $own_a a$-b;",
        ),
        *(
            "return 200 $nginx_version;",
            "set $own_a $ssl_client_raw_cert;",
            "error_page 404 /$own_a;",
            "error_page 404 $1;",
        ),
        "sub_filter a $http_a;",
    ],
)
def test_only_variables_of_the_request_and_the_answer_are_accepted(text: str) -> None:
    assert "pushrod apps allow shop nginx" in refused(text).hint
    check(text, free=True)

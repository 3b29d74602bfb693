"""What shapes an app's own requests may be said; what reaches beyond them is refused."""

import pytest

from tests.unit.ingress.snippets.asking import check, refused

GOOD = """\
# What the old server did
gzip_types text/plain;
location = /hello { return 200 "hi ${host}; it's \\"us\\""; }
location ~ "^/(?:a|b){2}/(?<!x)(\\d+)$" {
    set $own_number $1;
    proxy_set_header X-Number $own_number;
    proxy_pass http://app-shop.api/number/$own_number;
}
location /img/ {
    types { image/x-thing thing; text/plain txt log; }
    if ($http_user_agent ~* "x-forwarded|-f") { return 403; }
    if ($request_method != GET) { return 405; }
    limit_except GET { deny all; }
    proxy_pass http://app-shop;
}
proxy_buffers 8 16k;
set $args "";
rewrite ^/old/(.*)$ /new/$1 permanent;
rewrite ^/a\\;b$ /${uri}x;
"""


def test_directives_for_the_apps_own_requests_are_accepted() -> None:
    check(GOOD)
    check(GOOD.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    "text",
    [
        *("root /etc;", "alias /etc/;", "include /etc/passwd;", "access_log /tmp/x;", "load_module x;"),
        *("auth_basic_user_file /x;", "ssl_certificate /x;", "proxy_store on;", "try_files /x =404;", "js_import x;"),
        *("server { listen 1; }", "upstream x { server 1.2.3.4; }", "map $a $b { default 1; }", "geo $a { }"),
        *("listen 80;", "server_name blog.example;", "resolver 1.1.1.1;", "limit_req_zone $a zone=a:1m rate=1r/s;"),
        *("proxy_cache_path /x keys_zone=a:1m;", "proxy_bind 10.0.0.1;", "fastcgi_pass x;", "grpc_pass x;"),
        *("location / { alias /etc/; }", "location / { if ($a) { root /; } }", "limit_except GET { root /; }"),
        *("types { include /etc/passwd; }", 'types { "include" /x; }', "types { return 200; }"),
        *("types { location { a/b c; } }", "types { a/b { c/d e; } }"),
        *('"root" /etc;', "Root /etc;", "break { root /; }", "set { }", "$root /etc;"),
        *("client_header_timeout 1ms;", "underscores_in_headers on;", "merge_slashes off;"),
    ],
)  # fmt: skip
def test_other_directives_are_refused_unless_the_owner_allows_them(text: str) -> None:
    error = refused(text)
    assert "is not allowed here" in error.what
    assert "pushrod apps allow shop nginx" in error.hint
    check(text, free=True)


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:5432", "http://app-blog", "http://app-shop.example", "http://app-shop.other", "$own_a"),
        *("http://app-shop:80", "http://app-shop$own_a", "http://app-shop?x", "https://app-shop", "HTTP://app-blog"),
        *("http://$own_a/app-shop", "http://app-shop@evil.example/", "http://unix:/run/docker.sock", "''", '"\'http://app-shop\'"'),
    ],
)  # fmt: skip
def test_proxy_pass_may_only_name_the_apps_own_instances(address: str) -> None:
    error = refused(f"location / {{ proxy_pass {address}; }}")
    assert "http://app-shop or http://app-shop.api" in error.hint


@pytest.mark.parametrize(
    "text", ["if (-f /etc/passwd) { break; }", "if ( !-e $uri) { break; }", "if (!-d /x) { break; }"]
)
def test_a_condition_may_not_test_files(text: str) -> None:
    assert refused(text).what == "`if` may not test files"


@pytest.mark.parametrize("group", ["(?<nosniff>a)", "(?'nosniff'a)", "(?\\'nosniff\\'a)", "(?P<nosniff>a)"])
@pytest.mark.parametrize(
    "text", ['location ~ "{}" {{ break; }}', 'if ($uri ~ "{}") {{ break; }}', 'rewrite "{}" /;']
)
def test_a_named_group_in_a_regex_is_refused(text: str, group: str) -> None:
    assert "use $1" in refused(text.format(group)).hint


@pytest.mark.parametrize(
    "text",
    [
        "proxy_buffers 1000 1m;",
        "client_body_buffer_size 2m;",
        "gzip_buffers 32 64K;",
        "proxy_buffer_size 99999999;",
    ],
)
def test_memory_per_request_is_bounded(text: str) -> None:
    assert "more than 1m" in refused(text).what


@pytest.mark.parametrize(
    "text",
    [
        "client_max_body_size 0;",
        "client_max_body_size 1g;",
        "proxy_max_temp_file_size 65m;",
    ],
)
def test_disk_per_request_is_bounded(text: str) -> None:
    assert "of disk" in refused(text).what
    check("client_max_body_size 64m; proxy_max_temp_file_size 0;")


@pytest.mark.parametrize(
    "text", ["send_timeout 61m;", "keepalive_timeout 65s 1y;", "proxy_read_timeout 1h1s;", "send_timeout x;"]
)
def test_timeouts_are_bounded(text: str) -> None:
    assert "longer than an hour" in refused(text).what
    check("send_timeout 60m; keepalive_timeout '30m 30s' 1h; proxy_read_timeout 500ms;")


def test_requests_per_connection_are_bounded() -> None:
    assert "continue forever" in refused("keepalive_requests 100001;").what
    check("keepalive_requests 100000;")


@pytest.mark.parametrize(
    "text",
    [
        *(f"gzip_comp_level {level};" for level in ("5", "9", "0", "12", "-1", "4k", "''")),
        "location /a { gzip_comp_level 9; }",
        "sub_filter a aaaa; sub_filter_once off;",
        f"location /a {{ sub_filter_once off; }} sub_filter word '{'x' * 17}';",
        f"sub_filter </head> '{'x' * 1000}</head>'; sub_filter_once OFF;",
    ],
)
def test_work_per_response_byte_is_bounded(text: str) -> None:
    assert "all apps wait" in refused(text).what
    check(text, free=True)

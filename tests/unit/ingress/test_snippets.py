"""What an app may say in nginx's own language: read as nginx does, and refused where it reaches beyond the app."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import ManifestError
from pushrod.ingress import snippets
from pushrod.ingress.snippets import Line, _lines
from pushrod.system import files

GROUPS = ("app-shop", "app-shop.api")

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


def check(text: str, *, free: bool = False) -> None:
    snippets.check(text, "docker/nginx/own.conf", "shop", GROUPS, free=free)


def words(text: str) -> list[tuple[str, ...]]:
    return [line.words for line in _lines(text, "own.conf")]


def refused(text: str) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        check(text)
    assert caught.value.where.startswith("docker/nginx/own.conf")
    assert caught.value.hint
    return caught.value


def test_what_shapes_an_apps_own_requests_may_be_said() -> None:
    check(GOOD)
    check(GOOD.replace("\n", "\r\n"))


def test_a_word_is_what_nginx_takes_it_for() -> None:
    assert words('return 200 "a \\"b\\" \\\\ \\d \\t";') == [("return", "200", 'a "b" \\ \\d \t')]
    assert words("add_header A '\"';") == [("add_header", "A", '"')]
    assert words("rewrite ^/a\\;b\\{$ /${x}y;") == [("rewrite", "^/a\\;b\\{$", "/${x}y")]
    assert words('if ($a ~ "b") { break; }')[0] == ("if", "($a", "~", "b", ")")
    assert words('add_header "A#b" 1; # c ; d\nbreak;') == [("add_header", "A#b", "1"), ("break",)]


def test_a_line_knows_where_it_begins() -> None:
    assert list(_lines("\n\nadd_header\n  A\n  1;\n}", "own.conf")) == [
        Line(3, ("add_header", "A", "1"), ";"),
        Line(6, (), "}"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("add_header A b\x0b# ;\n;", "add_header\u00a0A b;", "add_header A b\u2003;", "break\x85;", "break\x00;"),
        *("location /a${ break; }", "types { x/y a${ b; } }", "location /a$x${ break; }", "return 200 a${b;"),
        *('add_header A b"c";', 'add_header A "b"c;', "add_header A 'b'#c;", "add_header A b#c;", "set $own_a b'c;"),
        *('add_header A "b;', "add_header A 'b;", "add_header A b\\", 'return 200 "a\\\nb";', "return 200 a\\ b;"),
        *("location / { break; }}", "break", "break;}", "{ break; }", "location / {", ";", '"a"}', "a};"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("free", [False, True])
def test_what_nginx_could_read_in_another_way_is_refused(text: str, *, free: bool) -> None:
    """Also where the host's owner lets the app say anything: its server is still its own."""
    with pytest.raises(ManifestError):
        check(text, free=free)


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
def test_what_reaches_beyond_the_app_is_refused_unless_the_hosts_owner_allows_it(text: str) -> None:
    error = refused(text)
    assert "is not for a snippet" in error.what
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
def test_requests_go_to_the_apps_own_instances(address: str) -> None:
    error = refused(f"location / {{ proxy_pass {address}; }}")
    assert "http://app-shop or http://app-shop.api" in error.hint


@pytest.mark.parametrize(
    "text", ["if (-f /etc/passwd) { break; }", "if ( !-e $uri) { break; }", "if (!-d /x) { break; }"]
)
def test_a_condition_does_not_look_at_files(text: str) -> None:
    assert refused(text).what == "`if` may not look at files"


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
    assert "let its name begin with own_" in refused(f"{directive} {name} x;").hint


@pytest.mark.parametrize("group", ["(?<nosniff>a)", "(?'nosniff'a)", "(?\\'nosniff\\'a)", "(?P<nosniff>a)"])
@pytest.mark.parametrize(
    "text", ['location ~ "{}" {{ break; }}', 'if ($uri ~ "{}") {{ break; }}', 'rewrite "{}" /;']
)
def test_a_group_of_an_expression_has_no_name(text: str, group: str) -> None:
    assert "write $1" in refused(text.format(group)).hint


@pytest.mark.parametrize(
    "text",
    [
        "proxy_buffers 1000 1m;",
        "client_body_buffer_size 2m;",
        "gzip_buffers 32 64K;",
        "proxy_buffer_size 99999999;",
    ],
)
def test_a_request_does_not_take_all_of_the_memory(text: str) -> None:
    assert "more than 1m" in refused(text).what


TAKING = "proxy_buffer_size 128k; proxy_buffers 4 256k; proxy_busy_buffers_size 256k;"


def test_what_directives_take_is_added_up() -> None:
    """Of one that is there several times the most counts: no request is in two places."""
    check(TAKING)
    assert "more than 2097152 bytes of memory" in refused(f"{TAKING} client_body_buffer_size 1000k;").what
    assert snippets.memory({"a.conf": TAKING, "b.conf": "location /x { proxy_buffers 8 16k; }"}) == 1152 << 10
    assert snippets.memory({"a.conf": "gzip on;"}) == 0


@pytest.mark.parametrize(
    "text",
    [
        "client_max_body_size 0;",
        "client_max_body_size 1g;",
        "proxy_max_temp_file_size 65m;",
    ],
)
def test_a_request_does_not_take_all_of_the_disk(text: str) -> None:
    assert "of the disk" in refused(text).what
    check("client_max_body_size 64m; proxy_max_temp_file_size 0;")


@pytest.mark.parametrize(
    "text", ["send_timeout 61m;", "keepalive_timeout 65s 1y;", "proxy_read_timeout 1h1s;", "send_timeout x;"]
)
def test_a_wait_has_an_end(text: str) -> None:
    assert "longer than an hour" in refused(text).what
    check("send_timeout 60m; keepalive_timeout '30m 30s' 1h; proxy_read_timeout 500ms;")


def test_a_connection_has_an_end() -> None:
    assert "go on for ever" in refused("keepalive_requests 100001;").what
    check("keepalive_requests 100000;")


# ---- what would hold up all apps -----------------------------------------------------------------------------------

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
    known = snippets._ALWAYS | snippets._MARKED | snippets._ALL | {"if", "location"}
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
def test_what_a_request_keeps_does_not_double(text: str) -> None:
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
def test_what_people_write_may_still_be_said(text: str) -> None:
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
def test_variables_are_those_of_the_request_and_the_answer(text: str) -> None:
    assert "pushrod apps allow shop nginx" in refused(text).hint
    check(text, free=True)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("break;\n", "400 lines"),
        ("add_header A $host$host$host$host$host$host$host$host;\n", "200 variables"),
        ("set $own_a 1;\n", "60 lines that set or rewrite"),
        ("types { " + "a/b c; " * 20 + "}\n", "400 lines"),
    ],
)
def test_what_all_snippets_come_to_has_an_end(line: str, what: str) -> None:
    assert what in refused(line * 401).what


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
def test_what_is_done_to_each_byte_of_an_answer_is_soon_done(text: str) -> None:
    assert "all apps wait" in refused(text).what
    check(text, free=True)


def test_what_is_done_to_each_byte_counts_over_files(tmp_path: Path) -> None:
    write(tmp_path, "a/1.conf", text="sub_filter_once off;")
    write(tmp_path, "a/2.conf", text="sub_filter a aaaa;")
    with pytest.raises(ManifestError, match="all apps wait"):
        read(tmp_path, "a/*.conf")


def test_blocks_do_not_lie_in_each_other_for_ever() -> None:
    assert "blocks in each other" in refused("location / { " * 6 + "}" * 6).what


def test_a_file_has_an_end() -> None:
    assert "longer than" in refused("break;\n" * 20000).what


def test_files_count_together(tmp_path: Path) -> None:
    write(tmp_path, *(f"a/{n}.conf" for n in range(3)), text="break;\n" * 150)
    with pytest.raises(ManifestError, match="more than 400 lines") as caught:
        read(tmp_path, "a/*.conf")
    assert caught.value.where == "a/2.conf:101"
    write(tmp_path, *(f"b/{n}.conf" for n in range(21)))
    with pytest.raises(ManifestError, match="21 files"):
        read(tmp_path, "b/*.conf")
    write(tmp_path, "c/0.conf", text="#" * 300_000)
    with pytest.raises(ManifestError, match="longer than"):
        read(tmp_path, "c/*.conf")


@given(st.text(alphabet=" \t\r\n\x0b\x0c\x85\u00a0;{}\"'\\#$()ab", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        check(text, free=True)
    except ManifestError as e:
        assert e.where
        assert e.hint


# ---- files ----------------------------------------------------------------------------------------------------


def write(directory: Path, *names: str, text: str = "break;") -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def read(directory: Path, *patterns: str) -> dict[str, str]:
    return snippets.read(patterns, directory, "shop", GROUPS, ())


def test_files_are_known_by_their_path_in_the_repository(tmp_path: Path) -> None:
    write(tmp_path, "nginx/b.conf", "nginx/a.conf", "nginx/c.txt", "edge/a.conf")
    assert list(read(tmp_path, "nginx/*.conf", "edge/a.conf")) == [
        "edge/a.conf",
        "nginx/a.conf",
        "nginx/b.conf",
    ]


def test_an_error_has_the_file_and_the_line(tmp_path: Path) -> None:
    write(tmp_path, "nginx/a.conf", text="break;\r\n\r\nroot /;\r\n")
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, "nginx/*.conf")
    assert caught.value.where == "nginx/a.conf:3"


@pytest.mark.parametrize("pattern", ["**/a.conf", "x/**/a.conf", "x/*/*/*.conf", "./x//y/z/a.conf", "**"])
def test_a_pattern_is_like_that_of_a_shell(tmp_path: Path, pattern: str) -> None:
    files.write(tmp_path / "x" / "y" / "z" / "a.conf", "break;")
    assert read(tmp_path, pattern) == {"x/y/z/a.conf": "break;"}


@pytest.mark.parametrize(
    "pattern", ["outside/a.conf", "link/a.conf", "link/**", "../outside/*.conf", "/outside/a.conf"]
)
def test_a_pattern_says_nothing_of_what_is_outside(tmp_path: Path, pattern: str) -> None:
    """Not even whether it is there: a file there and one that is not are told of alike."""
    files.write(tmp_path / "outside" / "a.conf", "break;")
    (tmp_path / "commit").mkdir()
    (tmp_path / "commit" / "link").symlink_to("../outside")
    with pytest.raises(ManifestError, match="no file"):
        read(tmp_path / "commit", pattern)


@pytest.mark.parametrize("pattern", ["nothing/*.conf", "nginx/*.txt", "nginx"])
def test_a_pattern_names_a_file(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, "nginx/a.txt")
    with pytest.raises(ManifestError, match="no file") as caught:
        read(tmp_path, pattern)
    assert caught.value.where == "x-pushrod.nginx"


@pytest.mark.parametrize(
    "name", ["nginx/a b.conf", "nginx/.a.conf", "nginx/ä.conf", "ngi$nx/a.conf", "nginx/a*.conf"]
)
def test_a_name_that_nginx_would_expand_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    with pytest.raises(ManifestError, match="this name is not for a snippet"):
        read(tmp_path, "*/*.conf")


def test_no_link_leads_out_of_the_repository(tmp_path: Path) -> None:
    write(tmp_path, "other/key.conf", "repository/nginx/a.conf")
    (tmp_path / "repository/nginx/b.conf").symlink_to("../../other/key.conf")
    with pytest.raises(ManifestError, match="leads out of the repository") as caught:
        read(tmp_path / "repository", "nginx/*.conf")
    assert caught.value.where == "nginx/b.conf"


def test_bytes_that_are_no_text_are_still_one_server(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_bytes(b"add_header A \xff\xfe;\r# \xc3\nbreak;")
    assert read(tmp_path, "a.conf") == {"a.conf": "add_header A \ufffd\ufffd;\n# \ufffd\nbreak;"}

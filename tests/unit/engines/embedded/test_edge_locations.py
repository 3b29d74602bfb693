"""Locations of a web server that the edge can serve or pass on itself."""

import pytest

from pushrod.engines.embedded import edge_locations
from pushrod.engines.embedded.edge_locations import Location
from tests.unit.engines.embedded.test_edge_files import CONF

STATIC = "/srv/static"


def test_locations_that_serve_files_or_pass_requests_on() -> None:
    assert edge_locations.of(CONF) == [
        Location("/", host="web:8000"),
        Location("/static/", "/static"),
        Location("/media", "/data/media"),
        Location("/docs/", "/usr/share/nginx/html/docs"),
        Location("/api/", host="web:8000"),
        Location("/", "/static", host="web:8000", suffixes=("js",)),
    ]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("location / { root /srv/static; }", [Location("/", STATIC)]),
        (
            "location / { root /srv/static; try_files $uri $uri/ /index.html; }",
            [Location("/", STATIC, "index.html")],
        ),
        ("root /srv/static; location / { try_files $uri =404; }", [Location("/", STATIC)]),
        (
            "root /srv/static; location /x { proxy_pass http://x:1; }",
            [Location("/x", host="x:1"), Location("/", STATIC)],
        ),
        (
            "location / { root /srv/static; try_files $uri @app; } location @app { proxy_pass http://web:8000; }",
            [Location("/", STATIC, host="web:8000")],
        ),
        (
            "location /s/ { alias /srv/static/; try_files $uri /s/no.html; }",
            [Location("/s/", STATIC, "no.html")],
        ),
        (
            "location ~ ^/(static|media)/ { root /srv; }",
            [Location("/static/", STATIC), Location("/media/", "/srv/media")],
        ),
        (
            "location / { proxy_pass http://web; } location ~* \\.(?:CSS|js)$ { root /srv/static; }",
            [Location("/", host="web"), Location("/", STATIC, host="web", suffixes=("css", "js"))],
        ),
        ("location /a/ { proxy_pass http://web:1/; }", [Location("/a/", host="web:1", strip=True)]),
        ("location /a/ { proxy_pass http://web:1/a/; }", [Location("/a/", host="web:1")]),
        ("location /a/ { proxy_pass http://web:1/b/; }", []),
        ("location /a/ { proxy_pass http://$web; }", []),
        ("location / { root /srv/static; try_files $uri @gone; }", []),
        ("location / { root /srv/static; try_files $uri /index.php?$args; }", []),
        ("location / { root /srv/static; return 301 https://x$request_uri; }", []),
        ("location ~ \\.php$ { root /srv; fastcgi_pass php:9000; }", []),
        ("location ~* \\.css$ { root /srv/static; }", []),
        ("location ~ ^/u/(.+)$ { alias /srv/$1; }", []),
        ("location / { location /s/ { root /srv; } proxy_pass http://web; }", [Location("/", host="web")]),
        ("return 301 https://x; root /srv/static; location /.pushrod/ { root /x; }", []),
    ],
)
def test_each_form(inside: str, expected: list[Location]) -> None:
    assert edge_locations.of(f"server {{ {inside} }}") == expected


@pytest.mark.parametrize(
    "text", ["}", "location /a/ { alias /a/", "{ } } }", "location /a/ { alias $x; }", "\0"]
)
def test_text_that_cannot_be_read_has_none(text: str) -> None:
    assert edge_locations.of(text) == []


def test_of_text_that_ends_too_early_only_the_files_in_front_count() -> None:
    text = "server { location / { root /a; } location /s/ { alias /srv/static/; } location /b { proxy_pass http://b:1"
    assert edge_locations.of(text) == [Location("/s/", STATIC)]

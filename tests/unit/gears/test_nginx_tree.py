"""Whole rendered files, and what is refused before it reaches nginx."""

from pathlib import Path

import msgspec
import pytest

from pushrod.errors import EdgeError
from pushrod.gears.nginx_tree import Site, render_main, render_site, render_tree

SHOP = Site(app="shop", release=7, port=8000, instances=(20001, 20002))
BLOG = Site(app="blog", release=1, port=8001, instances=(20003,), address="::")
EDGE = Path("/srv/push rod/edge")
SOCKET = Path("/run/pushrod/mark.sock")

MAIN = """\
# Generation 3-00c0ffee of the edge. Rendered by pushrod; a change made here is lost at the next switch.
daemon off;
pid "/srv/push rod/edge/run/nginx.pid";
error_log "/srv/push rod/edge/logs/error.log" notice;
worker_processes 2;
worker_rlimit_nofile 4096;
worker_shutdown_timeout 30s;

events {
    worker_connections 2048;
}

http {
    default_type text/plain;
    server_tokens off;
    access_log off;

    client_body_temp_path "/srv/push rod/edge/run/client_body";
    proxy_temp_path "/srv/push rod/edge/run/proxy";
    fastcgi_temp_path "/srv/push rod/edge/run/fastcgi";
    uwsgi_temp_path "/srv/push rod/edge/run/uwsgi";
    scgi_temp_path "/srv/push rod/edge/run/scgi";

    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65s;
    keepalive_min_timeout 2s;
    client_max_body_size 64m;

    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_min_length 1024;
    gzip_types text/plain text/css text/xml text/javascript application/javascript application/json
        application/xml application/manifest+json image/svg+xml;

    # A proxy on this machine (one that ends TLS, a tunnel) is believed about its client; no other peer is.
    set_real_ip_from 127.0.0.0/8;
    set_real_ip_from ::1;
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    geo $realip_remote_addr $peer {
        default far;
        127.0.0.0/8 near;
        ::1 near;
    }
    map "$peer:$http_x_forwarded_proto" $client_scheme {
        default $scheme;
        "near:http" http;
        "near:https" https;
    }
    map $http_host $client_host {
        default $http_host;
        "" $host;
    }
    map $http_upgrade $upgrade_to {
        default "";
        "~*^websocket$" $http_upgrade;
    }
    map $http_upgrade $upgrade_connection {
        default "";
        "~*^websocket$" upgrade;
    }
    map $status $status_number {
        default $status;
        "~^0" 0;
    }

    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_read_timeout 60s;
    proxy_send_timeout 60s;
    proxy_redirect off;
    proxy_set_header Host $client_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $client_scheme;
    proxy_set_header X-Request-Id $request_id;
    proxy_set_header Upgrade $upgrade_to;
    proxy_set_header Connection $upgrade_connection;
    proxy_hide_header X-Request-Id;
    proxy_hide_header X-Pushrod-Release;

    # Says which generation a worker has: a switch is believed when a new worker answers here.
    server {
        listen "unix:/run/pushrod/mark.sock";
        return 200 "3-00c0ffee $pid\\n";
    }

    include "/srv/push rod/edge/trees/3-00c0ffee/sites/blog.conf";
    include "/srv/push rod/edge/trees/3-00c0ffee/sites/shop.conf";
}
"""

SEVERAL = """\
# shop, release 7. Rendered by pushrod; a change made here is lost at the next switch.
log_format app-shop escape=json '{"time":"$time_iso8601","app":"shop","release":7,'
    '"request":"$request_id","client":"$remote_addr","method":"$request_method","path":"$uri",'
    '"status":$status_number,"bytes":$body_bytes_sent,"seconds":$request_time,'
    '"upstream":"$upstream_addr","upstream_status":"$upstream_status",'
    '"upstream_seconds":"$upstream_response_time"}';

upstream app-shop {
    least_conn;
    server 127.0.0.1:20001 max_fails=1 fail_timeout=2s;
    server 127.0.0.1:20002 max_fails=1 fail_timeout=2s;
    keepalive 32;
    # Below every backend's own idle time-out, so that a connection used again is not one it just closed.
    keepalive_timeout 1s;
}

server {
    listen 127.0.0.1:8000;
    server_name shop;
    access_log "/srv/push rod/edge/logs/access.log" app-shop;
    add_header X-Request-Id $request_id always;
    add_header X-Pushrod-Release 7 always;
    error_page 502 503 504 @unanswered;

    location / {
        proxy_pass http://app-shop;
    }

    # The status stays the one that led here.
    location @unanswered {
        add_header X-Request-Id $request_id always;
        add_header X-Pushrod-Release 7 always;
        add_header Cache-Control no-store always;
        add_header Retry-After 1 always;
        return 200 "$status: shop is not answering. Try again in a moment. Request $request_id.\\n";
    }
}
"""


def main(*apps: str, directory: Path = EDGE, keepalive_min: bool = True) -> str:
    return render_main("3-00c0ffee", apps, directory=directory, socket=SOCKET, keepalive_min=keepalive_min)


def test_the_main_file_has_the_shared_settings_the_mark_and_the_apps_of_its_own_tree() -> None:
    assert main("shop", "blog") == MAIN


def test_without_apps_there_is_only_the_mark() -> None:
    assert main() == MAIN[: MAIN.index("\n    include")] + "}\n"


def test_an_older_nginx_is_not_told_what_it_does_not_know() -> None:
    assert main("shop", "blog", keepalive_min=False) == MAIN.replace("    keepalive_min_timeout 2s;\n", "")


def test_a_site_with_several_instances() -> None:
    assert render_site(SHOP, logs=EDGE / "logs") == SEVERAL


def test_a_lone_instance_is_always_tried() -> None:
    text = render_site(msgspec.structs.replace(SHOP, instances=(20001,)), logs=EDGE / "logs")
    before, after = SEVERAL.split("    least_conn;\n")
    rest = after[after.index("    keepalive 32;") :]
    assert text == f"{before}    server 127.0.0.1:20001 max_fails=0;\n{rest}"


def test_a_site_may_listen_on_an_address_of_ip_version_6() -> None:
    assert "    listen [::]:8001;\n" in render_site(BLOG, logs=EDGE / "logs")


def test_a_tree_is_the_main_file_a_file_for_each_app_and_the_sites_as_values() -> None:
    sites = {"shop": SHOP, "blog": BLOG}
    tree = render_tree("3-00c0ffee", sites, directory=EDGE, socket=SOCKET, keepalive_min=True)
    assert set(tree) == {"nginx.conf", "sites.json", "sites/shop.conf", "sites/blog.conf"}
    assert tree["nginx.conf"] == MAIN
    assert tree["sites/shop.conf"] == SEVERAL
    assert msgspec.json.decode(tree["sites.json"], type=dict[str, Site]) == sites


def test_quotes_and_backslashes_of_a_path_are_escaped() -> None:
    text = main(directory=Path('/srv/a "b"\\c'))
    assert 'pid "/srv/a \\"b\\"\\\\c/run/nginx.pid";' in text


@pytest.mark.parametrize("character", list("$*?[\n\x7f"))
def test_a_path_that_nginx_would_expand_is_refused(character: str) -> None:
    with pytest.raises(EdgeError, match="nginx cannot use a path") as caught:
        main(directory=Path(f"/srv/a{character}b"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"app": "shop; }"}, "not an app's name"),
        ({"app": "Shop"}, "not an app's name"),
        ({"app": "a" * 32}, "not an app's name"),
        ({"instances": ()}, "no instances"),
        ({"instances": (0,)}, "port"),
        ({"port": 65536}, "port"),
        ({"address": "localhost; }"}, "not an IP address"),
    ],
)
def test_a_site_that_cannot_be_served_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(EdgeError, match=problem):
        render_site(msgspec.structs.replace(SHOP, **change), logs=EDGE / "logs")


def tree_of(*sites: Site) -> dict[str, str]:
    table = {s.app: s for s in sites}
    return render_tree("1-00000000", table, directory=EDGE, socket=SOCKET, keepalive_min=True)


def test_two_apps_cannot_listen_on_one_port() -> None:
    with pytest.raises(EdgeError, match="port 8000 is asked for by two apps") as caught:
        tree_of(SHOP, msgspec.structs.replace(BLOG, port=8000))
    assert caught.value.where == "shop and blog"


def test_the_edge_is_not_its_own_backend() -> None:
    with pytest.raises(EdgeError, match="port 8001, on which the edge itself listens") as caught:
        tree_of(msgspec.structs.replace(SHOP, instances=(20001, 8001)), BLOG)
    assert caught.value.where == "shop"

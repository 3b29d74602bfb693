"""Locations of a web server that only serve files, and the routes that they become."""

from pathlib import Path

import pytest

from pushrod.core.values import Build, Manifest, Route, Routing, Volume
from pushrod.engines.embedded import edge_files
from pushrod.engines.embedded.builds import front_ends
from pushrod.state.apps import App
from pushrod.system import files
from tests.unit.samples import service

CONF = """\
upstream app { server web:8000; }
server {
    listen 80;
    root /usr/share/nginx/html;
    location / { proxy_pass http://app; }
    location /static/ { alias /static/; expires 30d; }
    location ^~ /media { root /data; }
    location /docs/ { try_files $uri =404; }
    location ~ \\.js$ { root /static; }
    location /api/ { root /static; proxy_pass http://app; }
    location /old/ { alias /static/; return 410; }
    location /.pushrod/ { alias /static/; }
    location = /favicon.ico { alias /static/favicon.ico; }
}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    files.write(place / "nginx/default.conf", CONF)
    files.write(place / "backend/Dockerfile", "FROM python\nWORKDIR /code\nCOPY . .\nCMD python app.py\n")
    files.write(place / "backend/app.py", "")
    files.write(place / "backend/photos/first.png", "")
    files.write(place / "site/docs/index.html", "")
    return place


def routes(app: App, checkout: Path, *mounted: Volume, routing: Routing | None = None) -> dict[str, Route]:
    web = service(
        build=Build(context="backend"),
        volumes=(Volume("static", "/code/static"), Volume("photos", "/code/photos")),
    )
    conf = Volume("nginx/default.conf", "/etc/nginx/conf.d/default.conf", bind=True)
    nginx = service(name="nginx", role="edge", image="nginx", build=None, volumes=(conf, *mounted))
    result = edge_files.of(app, Manifest((web, nginx), routing=routing or Routing()), checkout)
    return {route.prefix: route for route in result}


def test_a_route_leads_to_the_volume_or_the_directory_that_the_web_server_mounts(
    app: App, checkout: Path
) -> None:
    result = routes(
        app,
        checkout,
        Volume("static", "/static"),
        Volume("photos", "/data/media"),
        Volume("site", "/usr/share/nginx/html", bind=True),
    )
    assert result == {
        "/static/": Route("/static/", files="backend/static", volume="volumes/static"),
        "/media": Route("/media", volume="volumes/photos"),
        "/docs/": Route("/docs/", files="site/docs"),
    }


def web_of(app: App, checkout: Path, conf: str, **changes: object) -> list[Route]:
    """The routes of a page, an API and an nginx with that server."""
    files.write(checkout / "nginx/default.conf", f"server {{ {conf} }}")
    files.write(checkout / "page/index.html", "")
    given = {"role": "worker", "port": 9000, "aliases": ("backend",), **changes}
    api = service("api", build=None, **given)
    mounted = (
        Volume("nginx/default.conf", "/etc/nginx/conf.d/default.conf", bind=True),
        Volume("page", "/usr/share/nginx/html", bind=True),
    )
    nginx = service(name="nginx", role="edge", image="nginx", build=None, volumes=mounted)
    return edge_files.of(app, Manifest((service("web", build=None), api, nginx)), checkout)


ROOT = "root /usr/share/nginx/html;"
WEB = "location /app/ { proxy_pass http://web:8080; }"
API = "location /api/ { proxy_pass http://backend:9000/; }"


def test_files_of_all_paths_leave_the_paths_of_services_to_these(app: App, checkout: Path) -> None:
    assert web_of(app, checkout, f"location / {{ {ROOT} try_files $uri /index.html; }} {API} {WEB}") == [
        Route("/", files="page", fallback="index.html"),
        Route("/api/", "api", strip=True),
        Route("/app/", "web"),
    ]
    assert web_of(app, checkout, f"location / {{ {ROOT} }} {API}") == [Route("/api/", "api", strip=True)]
    assert web_of(app, checkout, f"location / {{ {ROOT} try_files $uri /gone.html; }} {WEB}") == [
        Route("/", files="page"),
        Route("/app/", "web"),
    ]


def test_files_before_the_answers_of_a_service(app: App, checkout: Path) -> None:
    named = "location @app { proxy_pass http://web:8080; }"
    assert web_of(app, checkout, f"location / {{ {ROOT} try_files $uri @app; }} {named} {WEB}") == [
        Route("/", "web", files="page")
    ]
    endings = f"location ~ \\.(css|js)$ {{ {ROOT} }} location / {{ proxy_pass http://web; }}"
    assert web_of(app, checkout, endings) == [Route("/", "web", files="page", suffixes=("css", "js"))]


def test_a_service_without_a_known_port_or_instances_gets_no_route(app: App, checkout: Path) -> None:
    for changes in ({"port": 0}, {"replicas": 0}, {"role": "job"}, {"aliases": ()}):
        assert web_of(app, checkout, API, **changes) == []


def test_what_is_not_mounted_or_has_a_route_already_is_left_alone(app: App, checkout: Path) -> None:
    assert routes(app, checkout, Volume("/srv/static", "/static", bind=True)) == {}
    own = Routing((Route("/static", files="x"),))
    assert routes(app, checkout, Volume("static", "/static"), routing=own) == {}


def test_data_that_the_commit_does_not_contain_and_an_image_of_its_own(app: App, checkout: Path) -> None:
    result = routes(app, checkout, Volume("uploads", "/data", bind=True))
    assert result == {"/media": Route("/media", volume="data/uploads/media")}
    files.write(
        checkout / "nginx/Dockerfile",
        "FROM nginx\nCOPY default.conf /etc/nginx/conf.d/\nCOPY html /usr/share/nginx/html\n",
    )
    files.write(checkout / "nginx/html/docs/index.html", "")
    nginx = service(name="nginx", role="edge", build=Build(context="nginx"))
    manifest = Manifest((service(build=None), nginx))
    assert edge_files.of(app, manifest, checkout) == [Route("/docs/", files="nginx/html/docs")]


def test_a_page_that_a_stage_of_the_web_servers_image_builds(
    app: App, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_ends, "makes", lambda files, _: files == "page/dist")
    files.write(
        checkout / "page/Dockerfile",
        "FROM node AS build\nWORKDIR /app\nCOPY . .\nRUN npm run build\nFROM nginx\n"
        "COPY nginx.conf /etc/nginx/conf.d/default.conf\nCOPY --from=build /app/dist /usr/share/nginx/html\n",
    )
    files.write(checkout / "page/nginx.conf", f"server {{ {ROOT} {WEB} }}")
    nginx = service(name="nginx", role="edge", build=Build(context="page"))
    assert edge_files.of(app, Manifest((service("web", build=None), nginx)), checkout) == [
        Route("/", files="page/dist"),
        Route("/app/", "web"),
    ]

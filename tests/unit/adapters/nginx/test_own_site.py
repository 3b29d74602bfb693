"""The site of the host itself: what it renders to, that nginx accepts it, and who may not have its name."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import openssl
from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import build
from pushrod.adapters.nginx.own_site import VALUES, merged, read, render
from pushrod.adapters.nginx.sites import Known, Listening, OwnSite
from pushrod.adapters.nginx.tree import render_tree
from pushrod.core.errors import EdgeError
from pushrod.core.site import CHAIN, KEY, Site, Tls
from pushrod.system import files
from tests.unit.adapters.nginx.samples import (
    EDGE,
    EVERYWHERE,
    GENERATION,
    NEWEST,
    SECURE,
    SHOP,
    SOCKET,
    changed,
)

PAGE = OwnSite("_page", "page.example.com", "/run/pushrod/web", GENERATION)


def text(site: OwnSite = PAGE, known: Known = NEWEST) -> str:
    return render(site, listening=EVERYWHERE, directory=EDGE, known=known)


def tree(place: Path, listening: Listening, *sites: Site, known: Known = NEWEST) -> dict[str, str]:
    made = {site.app: site for site in sites}
    return render_tree("3-00c0ffee", made, listening=listening, directory=place, socket=SOCKET, known=known)


def test_without_a_certificate_only_the_authority_is_answered() -> None:
    plain = text(msgspec.structs.replace(PAGE, generation=""))
    assert "location ^~ /.well-known/acme-challenge/ {" in plain
    assert "return 503 " in plain
    assert "ssl" not in plain
    assert "proxy_pass" not in plain


def test_with_one_everything_goes_to_the_page_over_tls() -> None:
    both = text()
    for part in (
        "return 308 https://page.example.com$request_uri;",
        "listen 0.0.0.0:443 ssl;",
        "http2 on;",
        f'ssl_certificate "{EDGE}/certificates/_page/{GENERATION}/chain.pem";',
        'server "unix:/run/pushrod/web" max_fails=0;',
        'add_header Strict-Transport-Security "max-age=15768000" always;',
        "gzip off;",
        "proxy_set_header Host page.example.com;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "limit_req zone=enters_page burst=10 nodelay;",
    ):
        assert part in both
    assert "listen 0.0.0.0:443 ssl http2;" in text(known=Known(http2=False))


def test_another_name_on_its_port_is_rejected_before_the_handshake() -> None:
    listening = msgspec.structs.replace(EVERYWHERE, own=(PAGE,))
    files_of = tree(EDGE, listening, changed(SHOP, port=80, domains=("shop.org",)))
    assert "ssl_reject_handshake on;" in files_of["nginx.conf"]
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in files_of["nginx.conf"]
    assert 'sites/_page.conf";' in files_of["nginx.conf"]
    assert "_page" not in files_of["sites.json"]


@pytest.mark.parametrize(
    "changes",
    [
        {"domain": "*.example.com"},
        {"domain": "page.example.com;"},
        {"domain": ""},
        {"name": "page"},
        {"generation": "../../shop/3f9a07c15b2e8d44"},
    ],
)
def test_what_nginx_could_misread_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(EdgeError):
        text(msgspec.structs.replace(PAGE, **changes))


def test_no_app_has_its_name_or_its_port() -> None:
    listening = msgspec.structs.replace(EVERYWHERE, own=(PAGE,))
    with pytest.raises(EdgeError, match="is that of a site of this host"):
        tree(EDGE, listening, changed(SECURE, domains=("page.example.com",), tls=None))
    with pytest.raises(EdgeError, match="a site of this host with it"):
        tree(EDGE, listening, changed(SHOP, port=443))


def test_a_tree_keeps_it_as_a_value_which_only_its_own_changes_replace(tmp_path: Path) -> None:
    listening = msgspec.structs.replace(EVERYWHERE, own=(PAGE,))
    files.write(tmp_path / VALUES, tree(EDGE, listening)[VALUES])
    assert read(tmp_path) == {"_page": PAGE}
    assert VALUES not in tree(EDGE, EVERYWHERE)
    other = msgspec.structs.replace(PAGE, domain="other.example.com")
    assert merged(read(tmp_path), None) == {"_page": PAGE}
    assert merged(read(tmp_path), {"_page": other}) == {"_page": other}
    assert merged(read(tmp_path), {"_page": None}) == {}
    (tmp_path / VALUES).write_text("garbage")
    assert read(tmp_path) == {}


@pytest.mark.slow
def test_nginx_accepts_it_beside_apps(tmp_path: Path) -> None:
    nginx = Parts().nginx
    known = build.known(subprocess.run([nginx, "-V"], capture_output=True, text=True).stderr)
    authority = openssl.authority("test")
    for app, name in (("_page", PAGE.domain), ("my-blog", "blog.org")):
        pair = openssl.issue(authority, [name])
        place = tmp_path / "certificates" / app / GENERATION
        files.write(place / CHAIN, pair.chain)
        files.write(place / KEY, pair.key)
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    here = Listening(("127.0.0.1",), port=28480, own=(PAGE,), own_port=28443)
    secure = changed(SECURE, port=28480, tls=Tls(GENERATION, ("blog.org",), 28443, 600))
    for name, content in tree(tmp_path, here, secure, changed(SHOP, port=28481), known=known).items():
        files.write(
            tmp_path / "trees" / "3-00c0ffee" / name, content.replace(str(SOCKET), f"{tmp_path}/mark")
        )
    argv: list[str | Path] = [
        nginx,
        "-t",
        "-p",
        tmp_path,
        "-e",
        "stderr",
        "-c",
        tmp_path / "trees" / "3-00c0ffee" / "nginx.conf",
    ]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.replace('the "user" directive', "")

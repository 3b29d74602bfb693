"""Sites for the tests of the edge, and how to render them."""

from pathlib import Path
from typing import Any

import msgspec

from pushrod.adapters.nginx import server
from pushrod.adapters.nginx.sites import Known, Listening
from pushrod.adapters.nginx.tree import render_main
from pushrod.core.site import Site, Tls

SHOP = Site(app="shop", release=7, port=8000, backends=("127.0.0.1:20001", "127.0.0.1:20002"))
BLOG = Site(app="blog", release=1, port=8001, backends=("127.0.0.1:20003",))
HERE = Listening()
NEWEST = Known()
EVERYWHERE = Listening(("0.0.0.0", "::"), port=80)
EDGE = Path("/srv/push rod/edge")
SOCKET = Path("/run/pushrod/mark.sock")
FILES = Path(__file__).parent / "files"
TREE = EDGE / "trees" / "3-00c0ffee"
GENERATION = "3f9a07c15b2e8d44"
SECURE = msgspec.structs.replace(
    BLOG,
    app="my-blog",
    port=80,
    domains=("blog.org", "new.org"),
    tls=Tls(GENERATION, ("blog.org",), 443, 600),
    challenges=True,
)


def main(*sites: Site, listening: Listening = HERE, directory: Path = EDGE, known: Known = NEWEST) -> str:
    return render_main(
        "3-00c0ffee",
        sites,
        listening=listening,
        directory=directory,
        socket=SOCKET,
        known=known,
    )


def changed(site: Site, **changes: Any) -> Site:
    return msgspec.structs.replace(site, **changes)


def rendered(site: Site, listening: Listening = HERE, known: Known = NEWEST) -> str:
    return server.render(site, listening=listening, directory=EDGE, tree=TREE, known=known)

"""The edge's own answers for an app: short text, or a page for clients that accept HTML. Pure."""

from pushrod.adapters.templates import beside, fill

CLOSED, STARTING = "maintenance", "starting"
"""The values of `$away`: why the edge answers for the app; empty if it does not."""

MAPS = beside(__file__, "page_maps.conf")

_LOCATIONS = beside(__file__, "page_locations.conf")

_PAGE = beside(__file__, "page.html").replace("\n", "") + "\\n"


def locations(app: str, headers: str) -> str:
    """The two locations of a server for its `error_page`, with these `add_header` lines."""
    return fill(_LOCATIONS, app=app, headers=headers, page=fill(_PAGE, app=app))

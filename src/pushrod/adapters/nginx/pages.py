"""What the edge itself answers in an app's place: short text, or a page for whoever reads HTML. Pure."""

from pushrod.adapters.templates import beside, fill

CLOSED, STARTING = "maintenance", "starting"
"""The values of `$away` beside none: why the edge answers in the app's place."""

MAPS = beside(__file__, "page_maps.conf")

_LOCATIONS = beside(__file__, "page_locations.conf")

_PAGE = beside(__file__, "page.html").replace("\n", "") + "\\n"


def locations(app: str, headers: str) -> str:
    """The two locations of a server that its `error_page` leads to, with these `add_header` lines."""
    return fill(_LOCATIONS, app=app, headers=headers, page=fill(_PAGE, app=app))

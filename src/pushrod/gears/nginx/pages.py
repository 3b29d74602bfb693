"""What the edge itself answers in an app's place: short text, or a page for whoever reads HTML. Pure."""

from pushrod.gears.nginx.words import fill

CLOSED, STARTING = "maintenance", "starting"
"""The values of `$away` beside none: why the edge answers in the app's place."""

MAPS = """
    # What is said in an app's place, and for how many seconds it is not worth asking again.
    map $http_accept $told_as {
        default text;
        "~text/html" page;
    }
    map "$away$status" $told {
        default "is not answering. Try again in a moment.";
        "429" "gets too many requests from you. Try again in a moment.";
        "maintenance503" "is closed for maintenance. It will be back soon.";
        "starting503" "is starting. Try again in a moment.";
    }
"""

# The status stays the one that led here, which is what `error_page` without `=` means.
_LOCATIONS = """
    location = /.pushrod/text {
        internal;
        default_type text/plain;
@headers@        return 200 "$status: @app@ $told Request $request_id.\\n";
    }
    location = /.pushrod/page {
        internal;
        default_type "text/html; charset=utf-8";
@headers@        return 200 "@page@";
    }
"""

_PAGE = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>$status · @app@</title><style>:root{color-scheme:light dark}"
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:20vh auto 0;padding:0 1.5rem}"
    "h1{font-size:1.5rem;line-height:1.3;margin:0 0 1rem}p{margin:0;opacity:.7;font-size:.875rem}</style>"
    "<h1>@app@ $told</h1><p>Status $status · request $request_id</p></html>\\n"
)


def locations(app: str, headers: str) -> str:
    """The two locations of a server that its `error_page` leads to, with these `add_header` lines."""
    return fill(_LOCATIONS, app=app, headers=headers, page=fill(_PAGE, app=app))

"""What the edge itself answers in an app's place: short text, or a page for whoever reads HTML. Pure."""

from pushrod.adapters.templates import fill

CLOSED, STARTING = "maintenance", "starting"
"""The values of `$away` beside none: why the edge answers in the app's place."""

MAPS = """
    # What is said in an app's place, and after how many seconds its page asks again by itself.
    map $http_accept $told_as {
        default text;
        "~text/html" page;
    }
    map "$away$status" $told {
        default "is not answering.";
        "429" "gets too many requests.";
        "maintenance503" "is closed for maintenance.";
        "starting503" "is starting.";
    }
    map "$away$status" $advice {
        default "Try again in a moment.";
        "maintenance503" "It will be back soon.";
    }
    map "$away$status" $again {
        default 10;
        "429" 30;
        "maintenance503" $retry_after;
        "starting503" 3;
    }
"""

# The status stays the one that led here, which is what `error_page` without `=` means.
_LOCATIONS = """
    location = /.pushrod/text {
        internal;
        default_type text/plain;
@headers@        return 200 "$status: @app@ $told $advice Request $request_id.\\n";
    }
    location = /.pushrod/page {
        internal;
        default_type "text/html; charset=utf-8";
@headers@        return 200 "@page@";
    }
"""

# One word of nginx's configuration, so at most 4095 bytes, and free of double quotes. Light or dark as the reader's
# system is, in its own colours.
_PAGE = (
    "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=robots content=noindex>"
    "<meta name=viewport content='width=device-width,initial-scale=1'><meta http-equiv=refresh content=$again>"
    "<title>$status · @app@</title><style>"
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;font:1.0625rem/1.6 system-ui,sans-serif}"
    "main{box-sizing:border-box;width:100%;max-width:36rem;padding:2rem 1.5rem;border-left:.25rem solid #2f6feb}"
    "h1{margin:.5rem 0;font-size:1.75rem;line-height:1.25;font-weight:650;overflow-wrap:anywhere}"
    "p{margin:0}.n{font-weight:600;letter-spacing:.06em;opacity:.65}"
    "footer{margin-top:2rem;font-size:.8125rem;opacity:.65}code{overflow-wrap:anywhere}"
    "</style></head><body><main><p class=n>$status</p><h1>@app@ $told</h1>"
    "<p>$advice This page asks again by itself.</p>"
    "<footer>Request <code>$request_id</code></footer></main></body></html>\\n"
)


def locations(app: str, headers: str) -> str:
    """The two locations of a server that its `error_page` leads to, with these `add_header` lines."""
    return fill(_LOCATIONS, app=app, headers=headers, page=fill(_PAGE, app=app))

"""nginx variables that a snippet may use, and how they may be combined: a request's stored values must not double."""

from collections.abc import Sequence

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.ingress import regexes

_VARIABLES = frozenset((
    "args", "binary_remote_addr", "body_bytes_sent", "bytes_sent", "client_host", "client_scheme", "connection",
    "connection_requests", "content_length", "content_type", "date_gmt", "date_local", "document_uri", "gzip_ratio",
    "host", "http2", "https", "invalid_referer", "is_args", "limit_rate", "msec", "pipe", "proxy_add_x_forwarded_for",
    "query_string", "remote_addr", "remote_port", "remote_user", "request", "request_completion", "request_id",
    "request_length", "request_method", "request_time", "request_uri", "scheme", "server_addr", "server_name",
    "server_port", "server_protocol", "ssl_cipher", "ssl_protocol", "status", "time_iso8601", "time_local",
    "upstream_addr", "upstream_bytes_received", "upstream_cache_status", "upstream_response_time", "upstream_status",
    "uri",
))  # fmt: skip
_FAMILY = lazy(r"(?:own|arg|cookie|http|sent_http|upstream_cookie|upstream_http)_[A-Za-z0-9_]+")
# Variables that can grow by containing their own earlier value.
_GROWING = lazy(r"own_\w+|[1-9]|args|query_string|arg_\w+")
_VARIABLE = lazy(r"\$(?:\{([A-Za-z0-9_]+)\}|([1-9])|([A-Za-z_][A-Za-z0-9_]*)|)")
OWN_VARIABLE = lazy(r"\$(?:own_[A-Za-z0-9_]+|args|limit_rate)")
_MOST_JOINED = 4  # variables in one stored value
_MOST_ADDED = 100  # characters beside a variable that can grow
_NEAR = "those of the request and the answer, such as $host, $request_uri, $http_origin, and $own_… are"


def check_variables(text: str, name: str, at: str, owner: str) -> list[str]:
    """Check the variables of a word: only those that a snippet may use."""
    names = ["".join(filter(None, m.groups())) for m in _VARIABLE.finditer(text)]
    for variable in names:
        if (
            not (variable in _VARIABLES or variable in "123456789" or _FAMILY.fullmatch(variable))
            or not variable
        ):
            raise ManifestError(
                f"the variable `${variable}` is not allowed here", where=at, hint=f"{_NEAR}; {owner}"
            )
    if names and name == "sub_filter":
        raise ManifestError(
            "`sub_filter` may insert text, but no variables", where=at, hint=f"write the text; {owner}"
        )
    return names


def growing(text: str) -> list[str]:
    return [v for m in _VARIABLE.finditer(text) if _GROWING.fullmatch(v := "".join(filter(None, m.groups())))]


def check_growth(name: str, arguments: Sequence[str], at: str, owner: str) -> None:
    """A request's stored values must not double: nginx can execute the same line again, and others that use its
    result.
    """
    if name != "rewrite":
        parts, final = [" ".join(arguments[1:])], False
    else:
        target, flag = (*arguments, "", "", "")[1:3]
        final = flag in ("redirect", "permanent") or target.startswith(("http://", "https://", "$scheme"))
        parts = list(target.partition("?")[::2])
        if not final and (
            any(v not in "123456789" and v not in ("uri", "document_uri") for p in parts for v in _names(p))
            or any(len(set(names)) < len(names) for names in map(_names, parts))
            or (any(len(_names(p)) > 1 for p in parts) and regexes.read(arguments[0]).nested)
            or any("uri" in name and len(_names(p)) > 1 for p in parts for name in _names(p))
        ):
            raise ManifestError(
                "a `rewrite` can only use $1 to $9, each once before the `?` and once after it",
                where=at,
                hint="groups must not be nested; `return 302 …` and `rewrite … redirect` accept all variables; "
                + owner,
            )
        if not final and _names(parts[1]) and not target.endswith("?") and flag not in ("last", "break"):
            raise ManifestError(
                "a `rewrite` that adds to the query goes with `last` or `break`",
                where=at,
                hint="or ends with `?`, which leaves the query of the request out",
            )
    for part in parts:
        grown, names = growing(part), _names(part)
        added = len(_VARIABLE.sub("", part))
        alone = name == "rewrite" or len(names) == 1
        if not final and (
            (name != "rewrite" and len(grown) > 1)
            or (grown and not (alone and added <= _MOST_ADDED))
            or len(names) > _MOST_JOINED
        ):
            raise ManifestError(
                f"`{name}` combines too much: a request's stored values could grow at each pass",
                where=at,
                hint=f"one variable of your own, $1 or $args with at most {_MOST_ADDED} characters, or "
                f"{_MOST_JOINED} others; {owner}",
            )


def _names(text: str) -> list[str]:
    return ["".join(filter(None, m.groups())) for m in _VARIABLE.finditer(text)]

"""The directives that a snippet may contain, by name, with the arguments each allows."""

import re
from collections.abc import Collection, Mapping, Sequence

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.ingress.snippets.amounts import (
    MEMORY,
    MOST_GROWN,
    MOST_MEMORY,
    SHORTEST,
    Spent,
    amount,
    count_memory,
    seconds,
)
from pushrod.ingress.snippets.expressions import ALL, ALWAYS, MARKED, split_expressions, steps_of
from pushrod.ingress.snippets.reader import Line, lines
from pushrod.ingress.snippets.variables import OWN_VARIABLE, check_growth, check_variables, growing

ALLOWED = "nginx"
"""The grant of `pushrod apps allow` for snippets of any content."""

_BLOCKS = frozenset(("if", "limit_except", "location", "types"))
_PLAIN = frozenset((
    "absolute_redirect", "add_header", "add_trailer", "allow", "auth_request", "auth_request_set", "break",
    "charset", "charset_types", "chunked_transfer_encoding", "client_body_buffer_size", "client_body_timeout",
    "client_max_body_size", "default_type", "deny", "error_page", "etag", "expires", "gzip", "gzip_buffers",
    "gzip_comp_level", "gzip_http_version", "gzip_min_length", "gzip_proxied", "gzip_types", "gzip_vary",
    "if_modified_since", "internal", "keepalive_requests", "keepalive_timeout", "limit_rate", "limit_rate_after",
    "log_not_found", "max_ranges", "more_clear_headers", "more_clear_input_headers", "more_set_headers",
    "more_set_input_headers", "port_in_redirect", "proxy_buffer_size", "proxy_buffering", "proxy_buffers",
    "proxy_busy_buffers_size", "proxy_connect_timeout", "proxy_force_ranges", "proxy_hide_header",
    "proxy_http_version", "proxy_ignore_client_abort", "proxy_ignore_headers", "proxy_intercept_errors",
    "proxy_limit_rate", "proxy_max_temp_file_size", "proxy_method", "proxy_next_upstream",
    "proxy_next_upstream_timeout", "proxy_next_upstream_tries", "proxy_pass", "proxy_pass_header",
    "proxy_pass_request_body", "proxy_pass_request_headers", "proxy_read_timeout", "proxy_request_buffering",
    "proxy_send_timeout", "proxy_set_header", "recursive_error_pages", "reset_timedout_connection", "return",
    "rewrite_log", "satisfy", "send_timeout", "set", "sub_filter", "sub_filter_last_modified", "sub_filter_once",
    "sub_filter_types", "tcp_nodelay",
))  # fmt: skip
_DIRECTIVES = _BLOCKS | _PLAIN | ALWAYS | MARKED | ALL
_NAMED_GROUP = lazy(r"\(\?P?(?:<(?![=!])|')")
_BODY = "client_max_body_size"  # for which 0 means unlimited
_DISK = frozenset((_BODY, "proxy_max_temp_file_size"))
_MOST_DISK = 64 << 20  # bytes, likewise
_LONGEST_WAIT = 3600.0  # seconds
_MOST_REQUESTS = 100_000  # of one connection
LONGEST = 64 * 1024  # characters
_DEEPEST = 5  # nested blocks
_MOST_PACKED = (
    # of nine levels: from each level to the next the worst case triples, from 30 MB a second to 10, then 3, finally
    # 0.2
    4
)
_TYPES = "types"


def memory(texts: Mapping[str, str]) -> int:
    """The bytes of memory that these checked snippets allow one request to take."""
    spent = Spent()
    for where, text in texts.items():
        for line in filter(lambda line: line.words, lines(text, where)):
            count_memory(line.words[0], line.words[1:], spent)
    return sum(spent.memory.values())


def check(
    text: str,
    where: str,
    app: str,
    groups: Collection[str],
    *,
    free: bool = False,
    spent: "Spent | None" = None,
) -> None:
    """Raise ManifestError, with file and line, for lines that do not belong in one server or are not allowed.

    With `free` only the blocks must be complete; nginx judges their contents. `spent` are the totals of the app's
    other files.
    """
    spent = spent or Spent()
    spent.characters += len(text)
    if spent.characters > LONGEST:
        raise ManifestError(f"longer than {LONGEST} characters", where=where, hint="remove unused lines")
    opened: list[str] = []
    for line in lines(text, where):
        at = f"{where}:{line.number}"
        if line.ends == "}":
            if line.words or not opened:
                raise ManifestError("an unmatched `}`", where=at, hint="nginx's blocks are { … }")
            opened.pop()
            continue
        if not line.words:
            raise ManifestError(f"nothing before `{line.ends}`", where=at, hint="a directive has a name")
        if not free:
            _check_line(line, at, app, groups, spent, types=opened[-1:] == [_TYPES])
        if line.ends == "{":
            opened.append(line.words[0])
            if len(opened) > _DEEPEST:
                raise ManifestError(f"more than {_DEEPEST} nested blocks", where=at, hint="split them")
    if opened:
        raise ManifestError(f"its `{opened[-1]}` is not closed", where=where, hint="nginx's blocks are { … }")


def _check_line(line: Line, at: str, app: str, groups: Collection[str], spent: Spent, *, types: bool) -> None:
    name, *arguments = line.words
    owner = f"the host's owner can allow it: pushrod apps allow {app} {ALLOWED}"
    # `types` contains only media types; `include` would be accepted there too.
    known = name in (_BLOCKS if line.ends == "{" else _DIRECTIVES)
    if not ("/" in name and line.ends == ";" if types else known):
        raise ManifestError(
            f"`{name}` is not allowed here: it can reach beyond this app's own requests",
            where=at,
            hint=owner,
        )
    spent.directives += 1
    if types:
        spent.check(at, owner)
        return
    if name == "if" and re.match(r"[( ]*!?-", " ".join(arguments)):
        raise ManifestError("`if` may not test files", where=at, hint="a route with `files` serves them")
    if name == "proxy_pass" and not (arguments and _leads_to(arguments[0], groups)):
        raise ManifestError(
            "`proxy_pass` may only point to this app's own instances",
            where=at,
            hint=f"{' or '.join(f'http://{g}' for g in groups)}; another service needs a route first",
        )
    if name in ("set", "auth_request_set") and not (arguments and OWN_VARIABLE.fullmatch(arguments[0])):
        raise ManifestError(
            f"`{name}` may only set the app's own variables: all apps share variable names",
            where=at,
            hint="use a name that begins with own_, such as $own_language",
        )
    if any(map(_NAMED_GROUP.search, arguments)):
        raise ManifestError(
            "a named group creates a variable, and all apps share variable names",
            where=at,
            hint="remove its name and use $1; `set $own_language $1` names it",
        )
    if MEMORY.fullmatch(name) and amount(arguments) > MOST_MEMORY:
        raise ManifestError(f"`{name}` uses more than 1m of memory per request", where=at, hint="take less")
    if name in _DISK and (amount(arguments) > _MOST_DISK or (name == _BODY and not amount(arguments))):
        raise ManifestError(
            f"`{name}` uses more than 64m of disk per request",
            where=at,
            hint="use less, or set `max_body` on a route, which passes larger bodies on as they arrive",
        )
    if name.endswith("_timeout") and any(seconds(a) > _LONGEST_WAIT for a in arguments):
        raise ManifestError(f"`{name}` is longer than an hour", where=at, hint="wait for a shorter time")
    if name == "keepalive_requests" and not amount(arguments) <= _MOST_REQUESTS:
        raise ManifestError(
            f"`{name}` is more than {_MOST_REQUESTS}: a client could continue forever",
            where=at,
            hint="take less",
        )
    count_memory(name, arguments, spent)
    expressions_, texts = split_expressions(name, arguments, at)
    for text in expressions_:
        spent.steps += steps_of(text, at, owner)
    spent.variables += sum(len(check_variables(text, name, at, owner)) for text in texts)
    if name in ("set", "auth_request_set", "rewrite"):
        spent.changes += 1
        check_growth(name, arguments, at, owner)
    if name == "error_page" and any(map(growing, texts)):
        raise ManifestError(
            "`error_page` may not use values derived from an earlier request",
            where=at,
            hint=f"$request_uri, $host and $scheme can be in it; {owner}",
        )
    _check_work(name, arguments, at, owner, spent)
    spent.check(at, owner)


def _check_work(name: str, arguments: Sequence[str], at: str, owner: str, spent: Spent) -> None:
    """Limits for work on each byte of an answer, which nginx does without interruption."""
    if name == "gzip_comp_level" and not re.fullmatch(f"[1-{_MOST_PACKED}]", " ".join(arguments)):
        raise ManifestError(
            f"`gzip_comp_level` is 1 to {_MOST_PACKED}: more can take a hundred times as long, and all apps wait",
            where=at,
            hint=f"text packs to 23 % with {_MOST_PACKED}, and to 21 % with 9; {owner}",
        )
    if name == "sub_filter_once":
        spent.everywhere = spent.everywhere or arguments[:1] != ["on"]
    if name == "sub_filter":
        word, put = (*arguments, "", "")[:2]
        spent.grows = spent.grows or len(word) < SHORTEST or len(put) > MOST_GROWN * len(word)


def _leads_to(address: str, groups: Collection[str]) -> bool:
    rest = address.removeprefix("http://")
    return rest != address and rest.partition("/")[0] in groups

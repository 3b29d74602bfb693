"""An app's own lines of nginx's configuration: files of the commit that become part of its server.

All apps share one nginx, and whoever may push one of them is not root on the host. So a snippet may shape its own
app's requests and answers, and nothing else: no file of the host, no other server, no address of its choice, unless
the host's owner allows it (`pushrod apps allow shop nginx`). The reader here is no lexer of nginx's language but a
smaller one: it refuses what nginx could read in another way.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.errors import ManifestError

ALLOWED = "nginx"
"""The word of `pushrod apps allow` for snippets of any content."""

_BLOCKS = frozenset(("if", "limit_except", "location", "types"))
_DIRECTIVES = _BLOCKS | frozenset((
    "absolute_redirect", "add_header", "add_trailer", "allow", "auth_request", "auth_request_set", "break", "charset",
    "charset_types", "chunked_transfer_encoding", "client_body_buffer_size", "client_body_timeout",
    "client_header_timeout", "client_max_body_size", "default_type", "deny", "error_page", "etag", "expires", "gzip",
    "gzip_buffers", "gzip_comp_level", "gzip_disable", "gzip_http_version", "gzip_min_length", "gzip_proxied",
    "gzip_types", "gzip_vary", "if_modified_since", "ignore_invalid_headers", "internal", "keepalive_requests",
    "keepalive_timeout", "limit_rate", "limit_rate_after", "log_not_found", "max_ranges", "merge_slashes",
    "more_clear_headers", "more_clear_input_headers", "more_set_headers", "more_set_input_headers",
    "port_in_redirect", "proxy_buffer_size", "proxy_buffering", "proxy_buffers", "proxy_busy_buffers_size",
    "proxy_connect_timeout", "proxy_cookie_domain", "proxy_cookie_flags", "proxy_cookie_path", "proxy_force_ranges",
    "proxy_hide_header", "proxy_http_version", "proxy_ignore_client_abort", "proxy_ignore_headers",
    "proxy_intercept_errors", "proxy_limit_rate", "proxy_max_temp_file_size", "proxy_method", "proxy_next_upstream",
    "proxy_next_upstream_timeout", "proxy_next_upstream_tries", "proxy_pass", "proxy_pass_header",
    "proxy_pass_request_body", "proxy_pass_request_headers", "proxy_read_timeout", "proxy_redirect",
    "proxy_request_buffering", "proxy_send_timeout", "proxy_set_header", "recursive_error_pages",
    "reset_timedout_connection", "return", "rewrite", "rewrite_log", "satisfy", "send_timeout", "set",
    "sub_filter", "sub_filter_last_modified", "sub_filter_once", "sub_filter_types", "tcp_nodelay",
    "underscores_in_headers", "valid_referers",
))  # fmt: skip
_LOOKS = re.compile(r"!?-[defx]")  # conditions of `if` that look at a file
_PIECE = re.compile(
    r"""(?P<space>\s+)|(?P<comment>\#[^\n]*)|(?P<mark>[;{}])
    |(?P<word>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|(?:[^\s;{}"'\\\#]|\\\S)+)(?=[\s;{])""",
    re.VERBOSE,
)
_TYPES = "types"


class Line(NamedTuple):
    """A directive with its arguments, and where it begins; `ends` is the mark behind it."""

    number: int
    words: tuple[str, ...]
    ends: str


def read(patterns: Sequence[str], checkout: Path, app: str, allowed: Collection[str]) -> dict[str, str]:
    """The text of each file that a pattern names, by the file's name.

    Raises ManifestError where a pattern names none, two files have one name, or a file says what a snippet must not.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        paths = sorted(p for p in checkout.glob(pattern) if p.suffix == ".conf" and p.is_file())
        if not paths:
            raise ManifestError(
                f"no file `{pattern}` in the commit", where="x-pushrod.nginx", hint="its name ends with .conf"
            )
        for path in paths:
            if not path.resolve().is_relative_to(checkout.resolve()):
                raise ManifestError("leads out of the repository", where=str(path.relative_to(checkout)))
            if found.setdefault(path.name, path) != path:
                raise ManifestError(
                    "two snippets have this name",
                    where=str(path.relative_to(checkout)),
                    hint="rename one of them",
                )
    texts = {name: path.read_text(errors="replace") for name, path in found.items()}
    for name, text in texts.items():
        check(text, str(found[name].relative_to(checkout)), app, free=ALLOWED in allowed)
    return texts


def check(text: str, where: str, app: str, *, free: bool = False) -> None:
    """Raise ManifestError, with file and line, for what is no part of one server, or not allowed.

    With `free` only its blocks have to be whole; what is in them is nginx's to judge.
    """
    opened: list[str] = []
    for line in _lines(text, where):
        at = f"{where}:{line.number}"
        if line.ends == "}":
            if line.words or not opened:
                raise ManifestError(
                    "a `}` that closes nothing of this file", where=at, hint="nginx's blocks are { … }"
                )
            opened.pop()
            continue
        if not line.words:
            raise ManifestError(f"nothing before `{line.ends}`", where=at, hint="a directive has a name")
        if not free and _TYPES not in opened:
            _check_directive(line, at, app)
        if line.ends == "{":
            opened.append(line.words[0])
    if opened:
        raise ManifestError(f"its `{opened[-1]}` is not closed", where=where, hint="nginx's blocks are { … }")


def _check_directive(line: Line, at: str, app: str) -> None:
    name, *arguments = line.words
    allowed = _BLOCKS if line.ends == "{" else _DIRECTIVES
    if name not in allowed:
        raise ManifestError(
            f"`{name}` is not for a snippet: it can reach beyond this app's own requests",
            where=at,
            hint=f"the host's owner can allow it: pushrod apps allow {app} {ALLOWED}",
        )
    if name == "if" and any(map(_LOOKS.search, arguments)):
        raise ManifestError("`if` may not look at files", where=at, hint="a route with `files` serves them")
    own = re.compile(rf"http://app-{re.escape(app)}(?:\.[A-Za-z0-9._-]+)?(?:/.*)?")
    if name == "proxy_pass" and not all(map(own.fullmatch, arguments)):
        raise ManifestError(
            "`proxy_pass` may only lead to this app's own instances",
            where=at,
            hint=f"http://app-{app} is the entry, http://app-{app}.NAME another service that has a route",
        )


def _lines(text: str, where: str) -> Iterator[Line]:
    """Every directive. What this reader and nginx might read in two ways is refused."""
    words: list[str] = []
    at, began = 0, 1
    while at < len(text):
        number = text.count("\n", 0, at) + 1
        piece = _PIECE.match(text, at)
        if piece is None or "${" in piece[0] or "\0" in piece[0]:
            shown = text[at:].split("\n", 1)[0].strip()[:40]
            raise ManifestError(
                f"cannot be read with certainty: {shown}",
                where=f"{where}:{number}",
                hint="put quotes around the whole word, and write $name for ${name}",
            )
        at = piece.end()
        if piece["word"]:
            began = began if words else number
            words.append(piece["word"].strip("\"'") if piece["word"][0] in "\"'" else piece["word"])
        elif piece["mark"]:
            yield Line(began if words else number, tuple(words), piece["mark"])
            words = []
    if words:
        raise ManifestError(f"`{words[0]}` does not end with `;`", where=f"{where}:{began}", hint="add it")

"""An app's own lines of nginx's configuration: files of the commit that become part of its server.

All apps share one nginx, and whoever may push one of them is not root on the host. So a snippet may shape its own
app's requests and answers, and nothing else: no file of the host, no other server, no address of its choice, unless
the host's owner allows it (`pushrod apps allow shop nginx`). The reader here is no lexer of nginx's language but a
smaller one: it refuses what nginx could read in another way.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.errors import ManifestError
from pushrod.gears.nginx import SNIPPET

ALLOWED = "nginx"
"""The word of `pushrod apps allow` for snippets of any content."""

_BLOCKS = frozenset(("if", "limit_except", "location", "types"))
_DIRECTIVES = _BLOCKS | frozenset((
    "absolute_redirect", "add_header", "add_trailer", "allow", "auth_request", "auth_request_set", "break",
    "charset", "charset_types", "chunked_transfer_encoding", "client_body_buffer_size", "client_body_timeout",
    "client_max_body_size", "default_type", "deny", "error_page", "etag", "expires", "gzip", "gzip_buffers",
    "gzip_comp_level", "gzip_disable", "gzip_http_version", "gzip_min_length", "gzip_proxied", "gzip_types",
    "gzip_vary", "if_modified_since", "internal", "keepalive_requests", "keepalive_timeout", "limit_rate",
    "limit_rate_after", "log_not_found", "max_ranges", "more_clear_headers", "more_clear_input_headers",
    "more_set_headers", "more_set_input_headers", "port_in_redirect", "proxy_buffer_size", "proxy_buffering",
    "proxy_buffers", "proxy_busy_buffers_size", "proxy_connect_timeout", "proxy_cookie_domain",
    "proxy_cookie_flags", "proxy_cookie_path", "proxy_force_ranges", "proxy_hide_header", "proxy_http_version",
    "proxy_ignore_client_abort", "proxy_ignore_headers", "proxy_intercept_errors", "proxy_limit_rate",
    "proxy_max_temp_file_size", "proxy_method", "proxy_next_upstream", "proxy_next_upstream_timeout",
    "proxy_next_upstream_tries", "proxy_pass", "proxy_pass_header", "proxy_pass_request_body",
    "proxy_pass_request_headers", "proxy_read_timeout", "proxy_redirect", "proxy_request_buffering",
    "proxy_send_timeout", "proxy_set_header", "recursive_error_pages", "reset_timedout_connection", "return",
    "rewrite", "rewrite_log", "satisfy", "send_timeout", "set", "sub_filter", "sub_filter_last_modified",
    "sub_filter_once", "sub_filter_types", "tcp_nodelay", "valid_referers",
))  # fmt: skip
_OWN_VARIABLE = re.compile(r"\$(?:own_[A-Za-z0-9_]+|args|limit_rate)")
_NAMED_GROUP = re.compile(r"\(\?P?(?:<(?![=!])|')")
_MEMORY = re.compile(r".*_buffers?(?:_size)?")
_MOST_MEMORY = 1 << 20  # bytes, for one request
_LONGEST = 64 * 1024  # characters of a file

_PIECE = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<mark>[;{}])
    |(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')(?=[ \t\r\n;{)])
    |(?P<word>(?:[^\s;{}"'\\\#$]|\\\S|\$\{[A-Za-z0-9_]+\}|\$(?!\{))+)(?=[ \t\r\n;{])""",
    re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ESCAPED = re.compile(r"""\\(["'\\trn])""")
_MEANT: Mapping[str, str] = {"t": "\t", "r": "\r", "n": "\n"}
_TYPES = "types"


class Line(NamedTuple):
    """A directive with its arguments, and where it begins; `ends` is the mark behind it."""

    number: int
    words: tuple[str, ...]
    ends: str


def read(
    patterns: Sequence[str], checkout: Path, app: str, groups: Collection[str], allowed: Collection[str]
) -> dict[str, str]:
    """The text of each file that a pattern names, by its path in the repository.

    `groups` are the names by which nginx knows the app's instances. Raises ManifestError where a pattern names no
    file, or one says what a snippet must not.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        paths = [p for p in checkout.glob(pattern) if p.suffix == ".conf" and p.is_file()]
        if not paths:
            raise ManifestError(
                f"no file `{pattern}` in the commit", where="x-pushrod.nginx", hint="its name ends with .conf"
            )
        found |= {str(path.relative_to(checkout)): path for path in paths}
    for name, path in found.items():
        if not path.resolve().is_relative_to(checkout.resolve()):
            raise ManifestError("leads out of the repository", where=name)
        if not SNIPPET.fullmatch(name):
            raise ManifestError(
                "this name is not for a snippet",
                where=name,
                hint="rename it: letters, digits, dots, dashes and underscores",
            )
    texts = {name: found[name].read_text(errors="replace") for name in sorted(found)}
    for name, text in texts.items():
        check(text, name, app, groups, free=ALLOWED in allowed)
    return texts


def check(text: str, where: str, app: str, groups: Collection[str], *, free: bool = False) -> None:
    """Raise ManifestError, with file and line, for what is no part of one server, or not allowed.

    With `free` only its blocks have to be whole; what is in them is nginx's to judge.
    """
    if len(text) > _LONGEST:
        raise ManifestError(
            f"longer than {_LONGEST} characters", where=where, hint="leave out what is not used"
        )
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
        if not free:
            _check_line(line, at, app, groups, types=opened[-1:] == [_TYPES])
        if line.ends == "{":
            opened.append(line.words[0])
    if opened:
        raise ManifestError(f"its `{opened[-1]}` is not closed", where=where, hint="nginx's blocks are { … }")


def _check_line(line: Line, at: str, app: str, groups: Collection[str], *, types: bool) -> None:
    name, *arguments = line.words
    # In `types` there is nothing but media types; `include` would be known there too.
    known = name in (_BLOCKS if line.ends == "{" else _DIRECTIVES)
    if not ("/" in name and line.ends == ";" if types else known):
        raise ManifestError(
            f"`{name}` is not for a snippet: it can reach beyond this app's own requests",
            where=at,
            hint=f"the host's owner can allow it: pushrod apps allow {app} {ALLOWED}",
        )
    if name == "if" and re.match(r"[( ]*!?-", " ".join(arguments)):
        raise ManifestError("`if` may not look at files", where=at, hint="a route with `files` serves them")
    if name == "proxy_pass" and not (arguments and _leads_to(arguments[0], groups)):
        raise ManifestError(
            "`proxy_pass` may only lead to this app's own instances",
            where=at,
            hint=f"{' or '.join(f'http://{g}' for g in groups)}; another service needs a route first",
        )
    if name in ("set", "auth_request_set") and not (arguments and _OWN_VARIABLE.fullmatch(arguments[0])):
        raise ManifestError(
            f"`{name}` may only give a value to the app's own variables: all apps share their names",
            where=at,
            hint="let its name begin with own_, such as $own_language",
        )
    if any(map(_NAMED_GROUP.search, arguments)):
        raise ManifestError(
            "a group with a name makes a variable, whose name all apps share",
            where=at,
            hint="leave its name out and write $1; `set $own_language $1` gives it one",
        )
    if _MEMORY.fullmatch(name) and _bytes(arguments) > _MOST_MEMORY:
        raise ManifestError(
            f"`{name}` takes more than 1m of memory for a request", where=at, hint="take less"
        )


def _leads_to(address: str, groups: Collection[str]) -> bool:
    rest = address.removeprefix("http://")
    return rest != address and rest.partition("/")[0] in groups


def _bytes(arguments: Sequence[str]) -> int:
    """What `8 16k` comes to; what is no number, nginx refuses."""
    found = filter(None, (re.fullmatch(r"([0-9]{1,18})([kKmM]?)", a) for a in arguments))
    return math.prod(int(n[1]) << {"": 0, "k": 10, "m": 20}[n[2].lower()] for n in found)


def _lines(text: str, where: str) -> Iterator[Line]:
    """Every directive. What this reader and nginx might read in two ways is refused."""
    words: list[str] = []
    at, began = 0, 1
    while at < len(text):
        number = text.count("\n", 0, at) + 1
        piece = _PIECE.match(text, at)
        if piece is None or _CONTROL.search(piece[0]):
            shown = text[at:].split("\n", 1)[0].strip()[:40]
            raise ManifestError(
                f"cannot be read with certainty: {_CONTROL.sub('�', shown)}",
                where=f"{where}:{number}",
                hint="put quotes around the whole word",
            )
        at = piece.end()
        if word := piece["quoted"] or piece["word"]:
            began = began if words else number
            words.append(_ESCAPED.sub(_unescaped, word[1:-1] if piece["quoted"] else word))
        elif piece["mark"]:
            yield Line(began if words else number, tuple(words), piece["mark"])
            words = []
    if words:
        raise ManifestError(f"`{words[0]}` does not end with `;`", where=f"{where}:{began}", hint="add it")


def _unescaped(found: re.Match[str]) -> str:
    return _MEANT.get(found[1], found[1])

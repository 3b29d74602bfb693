"""An app's own lines of nginx's configuration: files of the commit that become part of its server.

All apps share one nginx, and whoever may push one of them is not root on the host. So a snippet may shape its own
app's requests and answers, and nothing else: no file of the host, no other server, no address of its choice, unless
the host's owner allows it (`pushrod apps allow shop nginx`). The reader here is no lexer of nginx's language but a
smaller one: it refuses what nginx could read in another way.
"""

import dataclasses
import errno
import fnmatch
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.core.site import SNIPPET
from pushrod.ingress import regexes
from pushrod.system import trees

ALLOWED = "nginx"
"""The word of `pushrod apps allow` for snippets of any content."""

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
# Those that know regular expressions, by nginx's documentation of each; `if` and `location` do too.
_ALWAYS = frozenset(("rewrite",))  # as their first word
_MARKED = frozenset((
    "proxy_cookie_domain", "proxy_cookie_flags", "proxy_cookie_path", "proxy_redirect", "valid_referers",
))  # behind a `~`  # fmt: skip
_ALL = frozenset(("gzip_disable",))  # each word; `msie6` stands for one
_DIRECTIVES = _BLOCKS | _PLAIN | _ALWAYS | _MARKED | _ALL
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
_FAMILY = re.compile(r"(?:own|arg|cookie|http|sent_http|upstream_cookie|upstream_http)_[A-Za-z0-9_]+")
# What can be made longer by what was made of it before.
_GROWING = re.compile(r"own_\w+|[1-9]|args|query_string|arg_\w+")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([1-9])|([A-Za-z_][A-Za-z0-9_]*)|)")
_OWN_VARIABLE = re.compile(r"\$(?:own_[A-Za-z0-9_]+|args|limit_rate)")
_NAMED_GROUP = re.compile(r"\(\?P?(?:<(?![=!])|')")
_MEMORY = re.compile(r".*_buffers?(?:_size)?")
_SHARES = frozenset(("proxy_busy_buffers_size",))  # of the memory that others take
_MOST_MEMORY = 1 << 20  # bytes, for one request
_MOST_TOGETHER = 2 * _MOST_MEMORY
_BODY = "client_max_body_size"  # of which 0 is no end
_DISK = frozenset((_BODY, "proxy_max_temp_file_size"))
_MOST_DISK = 64 << 20  # bytes, likewise
_LONGEST_WAIT = 3600.0  # seconds
_MOST_REQUESTS = 100_000  # of one connection
_SECONDS: Mapping[str, float] = {
    "ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000,
}  # fmt: skip

# What all snippets of an app may come to. They are read anew at each switch of any app; and of what is counted here
# each may take memory, or time, of the one process that serves all apps, for each request.
_MOST_FILES = 20
_LONGEST = 64 * 1024  # characters
_MOST_DIRECTIVES = 400
_MOST_VARIABLES = 200
_MOST_CHANGES = 60  # `set`, `auth_request_set`, `rewrite`: nginx may come to each eleven times in one request
_MOST_STEPS = 2_000_000  # of regular expressions, see `regexes`: some 10 ms
_DEEPEST = 5  # blocks in each other
_MOST_JOINED = 4  # variables in one value that is kept
_MOST_ADDED = 100  # characters beside a variable that can grow
_MOST_PACKED = (
    4  # of nine: from here to the next the worst case triples, from 30 MB a second to 10, then 3, at last 0.2
)
_SHORTEST, _MOST_GROWN = (
    4,
    4,
)  # characters that are looked for in all of an answer; how many times as long it becomes

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
_NEAR = "those of the request and the answer, such as $host, $request_uri, $http_origin, and $own_… are"


class Line(NamedTuple):
    """A directive with its arguments, and where it begins; `ends` is the mark behind it."""

    number: int
    words: tuple[str, ...]
    ends: str


@dataclasses.dataclass
class Spent:
    """What the snippets of an app have come to so far; `memory` is what each directive lets a request take."""

    characters: int = 0
    directives: int = 0
    variables: int = 0
    changes: int = 0
    steps: int = 0
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    grows: bool = False
    everywhere: bool = False

    def check(self, at: str, owner: str) -> None:
        """Raise ManifestError where it is more than an app's share."""
        for found, most, what in (
            (self.directives, _MOST_DIRECTIVES, "lines"),
            (self.variables, _MOST_VARIABLES, "variables in their values"),
            (self.changes, _MOST_CHANGES, "lines that set or rewrite"),
            (self.steps, _MOST_STEPS, "steps to match their regular expressions"),
            (sum(self.memory.values()), _MOST_TOGETHER, "bytes of memory for a request"),
        ):
            if found > most:
                raise ManifestError(
                    f"the snippets of this app have more than {most} {what}",
                    where=at,
                    hint=f"leave out what is not used; {owner}",
                )
        if self.grows and self.everywhere:
            raise ManifestError(
                f"`sub_filter_once off` goes with words of {_SHORTEST} characters or more, and at most {_MOST_GROWN} "
                "times as long in their place: all apps wait while an answer grows",
                where=at,
                hint=f"look for a longer word; {owner}",
            )


def read(
    patterns: Sequence[str], checkout: Path, app: str, groups: Collection[str], allowed: Collection[str]
) -> dict[str, str]:
    """The text of each file that a pattern names, by its path in the repository.

    `groups` are the names by which nginx knows the app's instances. Raises ManifestError where a pattern names no
    file, or one says what a snippet must not.
    """
    known = [name for name in trees.files(checkout) if name.endswith(".conf")]
    found: set[str] = set()
    for pattern in patterns:
        named = [name for name in known if _matches(name.split("/"), _words_of(pattern))]
        if not named:
            raise ManifestError(
                f"no file `{pattern}` in the commit", where="x-pushrod.nginx", hint="its name ends with .conf"
            )
        found.update(named)
    for name in found:
        if not SNIPPET.fullmatch(name):
            raise ManifestError(
                "this name is not for a snippet",
                where=name,
                hint="rename it: letters, digits, dots, dashes and underscores",
            )
    if len(found) > _MOST_FILES:
        raise ManifestError(
            f"{len(found)} files, of at most {_MOST_FILES}", where="x-pushrod.nginx", hint="put them together"
        )
    spent, texts = Spent(), {}
    for name in sorted(found):
        texts[name] = _text_of(checkout, name)
        check(texts[name], name, app, groups, free=ALLOWED in allowed, spent=spent)
    return texts


def memory(texts: Mapping[str, str]) -> int:
    """The bytes that a request can take by what these snippets, which have been checked, let it."""
    spent = Spent()
    for where, text in texts.items():
        for line in filter(lambda line: line.words, _lines(text, where)):
            _count_memory(line.words[0], line.words[1:], spent)
    return sum(spent.memory.values())


def _count_memory(name: str, arguments: Sequence[str], spent: Spent) -> None:
    if _MEMORY.fullmatch(name) and name not in _SHARES:
        spent.memory[name] = max(_bytes(arguments), spent.memory.get(name, 0))


def _words_of(pattern: str) -> list[str]:
    return [word for word in pattern.split("/") if word not in ("", ".")]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the names of a path are as a pattern's words say; `**` stands for any number of directories."""

    def onward(at: set[int]) -> set[int]:
        for n, word in enumerate(pattern):
            if n in at and word == "**":
                at.add(n + 1)
        return at

    at = onward({0})  # how many words of the pattern may lie behind
    for name in names:
        held = {n for n in at if pattern[n : n + 1] == ["**"]}
        passed = {n + 1 for n in at - held if n < len(pattern) and fnmatch.fnmatchcase(name, pattern[n])}
        at = onward(held | passed)
    return len(pattern) in at


def _text_of(checkout: Path, name: str) -> str:
    try:
        raw = trees.read(checkout, name, _LONGEST * 4)  # UTF-8: 4 bytes a character
        return raw.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as e:
        known = {
            errno.EXDEV: "leads out of the repository",
            errno.EFBIG: f"longer than {_LONGEST} characters",
        }
        why = known.get(e.errno or 0) or (e.strerror or str(e)).lower()
        raise ManifestError(why, where=name, hint="put the file itself there") from e


def check(
    text: str,
    where: str,
    app: str,
    groups: Collection[str],
    *,
    free: bool = False,
    spent: "Spent | None" = None,
) -> None:
    """Raise ManifestError, with file and line, for what is no part of one server, or not allowed.

    With `free` only its blocks have to be whole; what is in them is nginx's to judge. `spent` is what other files of
    the app have come to.
    """
    spent = spent or Spent()
    spent.characters += len(text)
    if spent.characters > _LONGEST:
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
            _check_line(line, at, app, groups, spent, types=opened[-1:] == [_TYPES])
        if line.ends == "{":
            opened.append(line.words[0])
            if len(opened) > _DEEPEST:
                raise ManifestError(
                    f"more than {_DEEPEST} blocks in each other", where=at, hint="take them apart"
                )
    if opened:
        raise ManifestError(f"its `{opened[-1]}` is not closed", where=where, hint="nginx's blocks are { … }")


def _check_line(line: Line, at: str, app: str, groups: Collection[str], spent: Spent, *, types: bool) -> None:
    name, *arguments = line.words
    owner = f"the host's owner can allow it: pushrod apps allow {app} {ALLOWED}"
    # In `types` there is nothing but media types; `include` would be known there too.
    known = name in (_BLOCKS if line.ends == "{" else _DIRECTIVES)
    if not ("/" in name and line.ends == ";" if types else known):
        raise ManifestError(
            f"`{name}` is not for a snippet: it can reach beyond this app's own requests",
            where=at,
            hint=owner,
        )
    spent.directives += 1
    if types:
        spent.check(at, owner)
        return
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
    if name in _DISK and (_bytes(arguments) > _MOST_DISK or (name == _BODY and not _bytes(arguments))):
        raise ManifestError(
            f"`{name}` takes more than 64m of the disk for a request",
            where=at,
            hint="take less, or give a route `max_body`, which passes larger bodies on as they come",
        )
    if name.endswith("_timeout") and any(_wait(a) > _LONGEST_WAIT for a in arguments):
        raise ManifestError(f"`{name}` is longer than an hour", where=at, hint="wait for less")
    if name == "keepalive_requests" and not _bytes(arguments) <= _MOST_REQUESTS:
        raise ManifestError(
            f"`{name}` is more than {_MOST_REQUESTS}: a client could go on for ever",
            where=at,
            hint="take less",
        )
    _count_memory(name, arguments, spent)
    expressions_, texts = _told_apart(name, arguments, at)
    for text in expressions_:
        spent.steps += _steps(text, at, owner)
    spent.variables += sum(len(_variables(text, name, at, owner)) for text in texts)
    if name in ("set", "auth_request_set", "rewrite"):
        spent.changes += 1
        _check_growth(name, arguments, at, owner)
    if name == "error_page" and any(map(_growing, texts)):
        raise ManifestError(
            "`error_page` may not lead to what was made of a request before",
            where=at,
            hint=f"$request_uri, $host and $scheme can be in it; {owner}",
        )
    _check_work(name, arguments, at, owner, spent)
    spent.check(at, owner)


# ---- what may take the time of all -----------------------------------------------------------------------------


def _check_work(name: str, arguments: Sequence[str], at: str, owner: str, spent: Spent) -> None:
    """What is done to each byte of an answer, which nginx does in one go for all that it has of it."""
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
        spent.grows = spent.grows or len(word) < _SHORTEST or len(put) > _MOST_GROWN * len(word)


def _told_apart(name: str, arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    """The words of a directive that nginx reads as regular expressions, and the others."""
    if name == "if":
        return _condition(arguments, at)
    if name == "location":
        return _place(arguments, at)
    if name in _ALWAYS:
        return list(arguments[:1]), list(arguments[1:])
    if name in _ALL:
        return list(arguments), []
    if name in _MARKED:
        marked = [a for a in arguments if a.startswith("~")]
        return [a[1:].removeprefix("*") for a in marked], [a for a in arguments if a not in marked]
    return [], list(arguments)


def _condition(arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    """As nginx reads it: a variable, or one, an operator and a word, in brackets."""
    words = list(arguments)
    if words and words[0].startswith("(") and words[-1].endswith(")") and words != ["("]:
        words[0] = words[0][1:]
        words[-1] = words[-1][:-1]
        words = words[not words[0] : len(words) - (not words[-1])]
        if words and re.fullmatch(r"\$[A-Za-z0-9_]+", words[0]):
            if len(words) == 1:
                return [], words
            if len(words) == 3 and words[1] in ("=", "!="):
                return [], [words[0], words[2]]
            if len(words) == 3 and words[1] in ("~", "~*", "!~", "!~*"):
                return [words[2]], [words[0]]
    raise ManifestError(
        "a condition that cannot be read with certainty",
        where=at,
        hint="($variable), or ($variable = word) with =, !=, ~, ~*, !~ or !~*; put quotes around the word",
    )


def _place(arguments: Sequence[str], at: str) -> tuple[list[str], list[str]]:
    if len(arguments) == 2 and arguments[0] in ("~", "~*"):
        return [arguments[1]], []
    if len(arguments) == 1 and arguments[0].startswith("~"):
        return [arguments[0][1:].removeprefix("*")], []
    prefix = arguments[-1] if arguments else ""
    if len(arguments) == 2 and arguments[0] in ("=", "^~"):
        prefix = arguments[1]
    elif len(arguments) == 1:
        prefix = prefix.removeprefix("^~").removeprefix("=")
    else:
        prefix = ""
    if not prefix.startswith(("/", "@")):
        raise ManifestError(
            "a `location` that cannot be read with certainty", where=at, hint="such as `location /img/ {`"
        )
    return [], []


def _steps(text: str, at: str, owner: str) -> int:
    try:
        steps = regexes.read(text).steps
    except regexes.UnreadableError as e:
        raise ManifestError(
            f"a regular expression with {e}: how long it takes to match cannot be known, and all apps wait for it",
            where=at,
            hint=f"say it with characters, classes, groups and alternatives; repeat single characters; {owner}",
        ) from e
    if steps > _MOST_STEPS:
        raise ManifestError(
            f"a regular expression that can take {steps} steps, for which all apps wait",
            where=at,
            hint="begin it with ^, and let what is repeated not match what comes behind it, as in ^/([^/]+)/(.*)$; "
            + owner,
        )
    return steps


def _variables(text: str, name: str, at: str, owner: str) -> list[str]:
    """The variables of a word, which are those that a snippet may use."""
    found = ["".join(filter(None, m.groups())) for m in _VARIABLE.finditer(text)]
    for variable in found:
        if (
            not (variable in _VARIABLES or variable in "123456789" or _FAMILY.fullmatch(variable))
            or not variable
        ):
            raise ManifestError(
                f"the variable `${variable}` is not for a snippet", where=at, hint=f"{_NEAR}; {owner}"
            )
    if found and name == "sub_filter":
        raise ManifestError(
            "`sub_filter` puts in words, no variables", where=at, hint=f"write the word; {owner}"
        )
    return found


def _growing(text: str) -> list[str]:
    return [v for m in _VARIABLE.finditer(text) if _GROWING.fullmatch(v := "".join(filter(None, m.groups())))]


def _check_growth(name: str, arguments: Sequence[str], at: str, owner: str) -> None:
    """What a request keeps must not double: nginx can come to the same line again, and to others made of it."""
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
                "a `rewrite` can only use $1 to $9, each once before the `?` and once behind it",
                where=at,
                hint="groups are not in each other; `return 302 …` and `rewrite … redirect` know all variables; "
                + owner,
            )
        if not final and _names(parts[1]) and not target.endswith("?") and flag not in ("last", "break"):
            raise ManifestError(
                "a `rewrite` that adds to the query goes with `last` or `break`",
                where=at,
                hint="or ends with `?`, which leaves the query of the request out",
            )
    for part in parts:
        grown, names = _growing(part), _names(part)
        added = len(_VARIABLE.sub("", part))
        alone = name == "rewrite" or len(names) == 1
        if not final and (
            (name != "rewrite" and len(grown) > 1)
            or (grown and not (alone and added <= _MOST_ADDED))
            or len(names) > _MOST_JOINED
        ):
            raise ManifestError(
                f"`{name}` joins too much: what a request keeps could grow each time nginx comes here",
                where=at,
                hint=f"one variable of your own, $1 or $args with at most {_MOST_ADDED} characters, or "
                f"{_MOST_JOINED} others; {owner}",
            )


def _names(text: str) -> list[str]:
    return ["".join(filter(None, m.groups())) for m in _VARIABLE.finditer(text)]


def _wait(text: str) -> float:
    """A time as nginx reads it (`1h 30m`, `500ms`), in seconds; longer than allowed where it is none."""
    parts = re.findall(r"([0-9]{1,9})(ms|[smhdwMy]?)", text)
    if "".join(f"{n}{unit}" for n, unit in parts) != text.replace(" ", ""):
        return math.inf
    return sum(int(n) * _SECONDS[unit] for n, unit in parts)


def _leads_to(address: str, groups: Collection[str]) -> bool:
    rest = address.removeprefix("http://")
    return rest != address and rest.partition("/")[0] in groups


def _bytes(arguments: Sequence[str]) -> int:
    """What `8 16k` comes to; what is no number, nginx refuses."""
    found = filter(None, (re.fullmatch(r"([0-9]{1,18})([kKmMgG]?)", a) for a in arguments))
    return math.prod(int(n[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[n[2].lower()] for n in found)


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

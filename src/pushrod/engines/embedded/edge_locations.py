"""The locations of an nginx that the edge replaces, as far as it can do the same. Pure.

location /static/ { alias /static/; }
location / { root /usr/share/nginx/html; try_files $uri /index.html; }
location / { root /srv/static; try_files $uri @app; }
location ~* \\.(css|js)$ { root /srv/static; }
location ~ ^/(static|media)/ { root /srv; }
location /api/ { proxy_pass http://api:9000/; }
"""

import contextlib
import posixpath
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from pushrod.core.errors import ManifestError
from pushrod.core.patterns import lazy
from pushrod.ingress.snippets import reader

_PREFIX = lazy(r"/|(?:/[A-Za-z0-9._~@+-]+)+/?")
_RESERVED = ("/.pushrod", "/.well-known/acme-challenge")
_ENDINGS = lazy(r"(?:\^?/?\(?\.[*+]\)?)?\\\.\(?(?:\?:)?([A-Za-z0-9]{1,10}(?:\|[A-Za-z0-9]{1,10}){0,59})\)?\$")
_FIRST_PARTS = lazy(r"\^/\((?:\?:)?([A-Za-z0-9_|-]{1,200})\)(/?)(?:\(?\.[*+]\)?)?\$?")


class Location(NamedTuple):
    """A prefix of requests, and what answers them: the files of a `directory` of the web server's container, else its
    file `fallback`, or the server at `host`. With `suffixes` only files with these are looked for. `strip` is whether
    the server gets the path without the prefix.
    """

    prefix: str
    directory: str = ""
    fallback: str = ""
    host: str = ""
    strip: bool = False
    suffixes: tuple[str, ...] = ()


class _Block:
    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.directives: list[tuple[str, ...]] = []
        self.blocks: list[_Block] = []

    def value(self, name: str) -> str:
        """The only word of a directive; empty if there is none."""
        return next((d[1] for d in self.directives if len(d) == 2 and d[0] == name), "")

    def named(self, word: str) -> Iterator["_Block"]:
        """The blocks inside with that name, at any depth."""
        for block in self.blocks:
            if block.words[:1] == (word,):
                yield block
            yield from block.named(word)


def of(text: str) -> list[Location]:
    """The locations of a configuration. Text that cannot be read has only those in front that serve files."""
    top, whole = _parse(text)
    upstreams = dict(_upstreams(top))
    servers = [b for b in top.named("server") if b.words == ("server",)]
    locations = [location for server in servers or [top] for location in _of_server(server, upstreams)]
    return locations if whole else [f for f in locations if f.directory and f.prefix != "/" and not f.host]


def _upstreams(top: _Block) -> Iterator[tuple[str, str]]:
    """The name of each group of servers that has one, with that."""
    for block in top.named("upstream"):
        members = [d[1] for d in block.directives if d[:1] == ("server",) and d[1:]]
        if len(block.words) == 2 and len(members) == 1:
            yield block.words[1], members[0]


def _parse(text: str) -> tuple[_Block, bool]:
    stack = [_Block(())]
    whole = False
    with contextlib.suppress(ManifestError):
        for line in reader.lines(text, "nginx.conf"):
            if line.ends == ";":
                stack[-1].directives.append(line.words)
            elif line.ends == "{":
                stack.append(_Block(line.words))
            elif len(stack) == 1:
                return stack[0], False
            else:
                ended = stack.pop()
                stack[-1].blocks.append(ended)
        whole = len(stack) == 1
    while len(stack) > 1:  # of a block that does not end, those inside that do
        ended = stack.pop()
        stack[-1].blocks += [ended] if ended.words == ("server",) else ended.blocks
    return stack[0], whole


def _of_server(server: _Block, upstreams: dict[str, str]) -> Iterator[Location]:
    root, inside = server.value("root"), [b for b in server.blocks if b.words[:1] == ("location",)]
    others = {
        b.words[1]: _passed(b, upstreams)[0] for b in inside if len(b.words) == 2 and b.words[1][:1] == "@"
    }
    rest = ""
    endings: list[Location] = []
    for block in inside:
        first, prefix = block.words[1:2], _prefix(block.words)
        host, strip = _passed(block, upstreams)
        if prefix and host:
            rest = host if prefix == "/" else rest
            yield Location(prefix, host=host, strip=strip)
        elif _does_more(block):
            continue
        elif prefix:
            yield from _files(block, prefix, root, others)
        elif first in (("~",), ("~*",)) and len(block.words) == 3:
            locations = [*_by_expression(block.words[2], block.value("root") or root)]
            endings += [f for f in locations if f.suffixes]
            yield from (f for f in locations if not f.suffixes)
    if rest:
        yield from (e._replace(host=rest) for e in endings)
    elif root and inside and not any(_prefix(b.words) == "/" for b in inside) and not _does_more(server):
        yield from _files(server, "/", root, others)


def _files(block: _Block, prefix: str, root: str, others: dict[str, str]) -> Iterator[Location]:
    """What a location serves itself, if all of it is in one directory."""
    own = block.value("root") or root
    place = block.value("alias") or (own + prefix if own else "")
    tried = next((d[1:] for d in block.directives if d[:1] == ("try_files",)), ())
    last = tried[-1] if tried else "=404"
    host = others.get(last, "")
    fallback = "" if host or last.startswith("=") else posixpath.relpath(f"/{last.lstrip('/')}", prefix)
    odd = "$" in fallback or "?" in fallback or fallback.startswith("../")
    if (
        place.startswith("/")
        and "$" not in place
        and (prefix != "/" or not (odd or (last.startswith("@") and not host)))
    ):
        yield Location(
            prefix, posixpath.normpath(place), "" if odd or last.startswith("@") else fallback, host
        )


def _by_expression(expression: str, root: str) -> Iterator[Location]:
    if not root.startswith("/") or "$" in root:
        return
    if match := _ENDINGS.fullmatch(expression):
        suffixes = tuple(dict.fromkeys(s.lower() for s in match[1].split("|") if s))
        yield Location("/", posixpath.normpath(root), suffixes=suffixes)
    elif match := _FIRST_PARTS.fullmatch(expression):
        for part in filter(None, match[1].split("|")):
            yield Location(f"/{part}{match[2]}", posixpath.normpath(f"{root}/{part}"))


def _does_more(block: _Block) -> bool:
    """Whether it answers with something else than files."""
    names = [d[0] for d in block.directives if d]
    return any(name.endswith("_pass") or name in ("return", "internal", "rewrite") for name in names)


def _prefix(words: tuple[str, ...]) -> str:
    """The path of a `location` for everything below it; empty for other blocks."""
    plain = words[1:] if words[1:2] != ("^~",) else words[2:]
    if words[:1] != ("location",) or len(plain) != 1 or not _PREFIX.fullmatch(plain[0]):
        return ""
    reserved = any(f"{plain[0]}/".startswith(f"{own}/") for own in _RESERVED)
    return "" if reserved or {".", ".."} & {*plain[0].split("/")} else plain[0]


def _passed(block: _Block, upstreams: dict[str, str]) -> tuple[str, bool]:
    """The server (`host:port`) that requests are passed to, and whether it gets their path without the prefix; empty
    if the path becomes another one, or it cannot be known."""
    given = block.value("proxy_pass")
    if "$" in given or not given.startswith("http://"):
        return "", False
    url, prefix = urlsplit(given), _prefix(block.words)
    host = upstreams.get(url.netloc, url.netloc)
    if url.path in ("", prefix):
        return host, False
    return (host, True) if url.path == "/" and prefix.endswith("/") else ("", False)

"""An app's own lines in a real nginx: what the reader accepts stays within one server, and affects no other app."""

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from devtools.servers import free_port
from pushrod.adapters.binaries import Parts
from pushrod.adapters.nginx import Edge
from pushrod.core.errors import EdgeError, ManifestError
from pushrod.core.site import Site
from pushrod.core.values import Route, Routing
from pushrod.ingress import snippets
from pushrod.ingress.snippets import directives, reader
from pushrod.system import files
from tests.integration.edges import Backend, ask

pytestmark = pytest.mark.integration

Make = Callable[[str], Backend]

MAIN = """\
daemon off;
pid {place}/nginx.pid;
events {{ }}
http {{
    access_log off;
    upstream app-shop {{ server 127.0.0.1:1; }}
    server {{ listen unix:{place}/s; include {place}/own.conf; }}
}}
"""

MARKS = (
    *" \t\r\n\x0b\x0c\x1f\x85\u00a0\u2028\ufeff;{}\"'\\#$()",
    "pwned;",
    "pwned ",
    "${",
    "${x}",
    "\\\\",
    "\n#",
    "}\n{",
)
LINES = (
    *("add_header A b;", 'add_header A "b; pwned; } {";'),
    *("add_header A 'b \\' pwned; c' ;", "add_header A b\\;c\\{d;"),
    *("# pwned; } {\n", "break;# 'pwned;\n"),
    *( "location = /a { # pwned\nbreak; }", "location ~ \"a{2}\" { break; }"),
    *("location /b { types { a/b c; 'd/e' \"f;\" g; } break; }",),
    *('if ($own_a ~ "b;{2}") { return 200 "a\\" pwned;"; }'),
    *("set $own_a ${args}b;", 'set $own_a "pwned;$own_a";', "location /c { limit_except GET { deny all; } }"),
)  # fmt: skip


@st.composite
def disturbed(draw: st.DrawFn) -> str:
    """Good lines with one or two inserted characters that may break them apart."""
    text = "\n".join(draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=3)))
    for mark in draw(st.lists(st.sampled_from(MARKS), max_size=2)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + mark + text[at:]
    return text


TORN = re.compile(
    r'unknown directive|unexpected (?:end of file|".")(?! in condition)|not terminated|has no opening'
)
"""nginx's messages about a file that it has parsed differently than intended."""


def accepted(text: str) -> bool:
    try:
        snippets.check(text, "own.conf", "shop", ("app-shop",))
    except ManifestError:
        return False
    return True


def words(text: str) -> list[str]:
    return [word for line in reader.lines(text, "") for word in line.words]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "nginx.conf").write_text(MAIN.format(place=tmp_path))
    return tmp_path


@settings(max_examples=800, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(disturbed())
@example("add_header A b\x0b# ;\npwned\n;")
@example("types { a/b x${ c; } pwned; }")
@example("location /a${ break; }")
@example("location / { #\r}\n")
@example('add_header A b"c; pwned";')
@example('add_header A "b"c;')
@example('add_header A "b"#;\npwned;\n;')
@example("set $own_a 'b\\';pwned;';")
@example(f"set $own_a {'x' * 5000};")
def test_nginx_sees_no_directive_that_the_reader_has_not_seen(place: Path, text: str) -> None:
    """`pwned` is no directive: nginx says so where it reads it as one; to the reader it is a word or a comment."""
    lines = list(reader.lines(text, "")) if accepted(text) else []
    if not lines or any(line.ends == ";" and line.words[0] in directives._BLOCKS for line in lines):
        return
    (place / "own.conf").write_text(text, newline="")
    argv = [str(Parts().nginx), "-t", "-p", f"{place}/", "-c", f"{place}/nginx.conf", "-e", "stderr"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert not TORN.search(done.stderr), (text, done.stderr)


def test_a_word_is_read_as_nginx_reads_it(edge: Edge, backend: Make) -> None:
    chosen = random.Random(7)
    alphabet = [
        "a",
        "\\",
        '"',
        "'",
        "\\\\",
        '\\"',
        "\\'",
        "\\t",
        "\\n",
        "\\d",
        "\\;",
        "\\{",
        "\\#",
        "é",
        "{",
        " ",
        ";",
        "#",
        ")",
    ]
    made = ["".join(chosen.choices(alphabet, k=chosen.randrange(1, 9))) for _ in range(3000)]
    made += [f"{q}{word}{q}" for word in made for q in "\"'"]
    result: dict[str, str] = {}
    for text in dict.fromkeys(made):
        once, twice = f"return 200 {text};", f"return 200 {text} {text};"
        if accepted(once) and accepted(twice) and (len(words(once)), len(words(twice))) == (3, 4):
            result[text] = words(once)[2]
    assert len(result) > 1000
    tried = dict(list(result.items())[:1000])
    text = "".join(f"location = /{n} {{ return 200 {word}; }}\n" for n, word in enumerate(tried))
    port = serve(edge, {"shop": backend("web")}, {"own.conf": text})
    for n, (written, meant) in enumerate(tried.items()):
        assert ask(port, f"/{n}").body.encode("latin-1").decode() == meant, written


# ---- what it cannot reach -----------------------------------------------------------------------------------------


def serve(edge: Edge, apps: dict[str, Backend], own: dict[str, str], *routes: Route, port: int = 0) -> int:
    """Serve apps, the first with these snippets and routes; returns its port."""
    made = {}
    for n, (app, behind) in enumerate(apps.items()):
        routing = Routing(routes=routes, snippets=own) if n == 0 else Routing()
        made[app] = Site(
            app=app,
            release=1,
            port=(port or free_port()) if n == 0 else free_port(),
            backends=(behind.address,),
            entry="web",
            routing=routing,
            challenges=True,
        )
    edge.switch(made)
    return made[next(iter(apps))].port


@pytest.mark.parametrize(
    "text",
    [
        "rewrite ^/x$ {} last;",
        "error_page 404 {}; location = /x {{ return 404; }}",
        "error_page 404 =200 {}; location = /x {{ proxy_pass http://app-shop/refuse; error_page 503 =200 {}; "
        "proxy_intercept_errors on; }}",
        'rewrite "^/x(/y)?$" "/files/..$1/../../../../../secret" last;',
        "location = /x {{ rewrite ^ /../secret break; }}",
        "location ~ ^/x {{ rewrite ^ /secret break; }}",
    ],
)
@pytest.mark.parametrize(
    "place", ["/files/../../../../../secret", "/.well-known/acme-challenge/../../../secret"]
)
def test_no_file_of_the_host_can_be_served(edge: Edge, backend: Make, text: str, place: str) -> None:
    """Not even by a path in nginx's configuration, in which nginx does not check for dots."""
    files.write(edge.directory / "secret", "the secret")
    files.write(edge.static / "shop" / "1" / "0" / "files" / "a.txt", "a")
    files.write(edge.challenges / ".well-known" / "acme-challenge" / "token", "t")
    text = text.format(place, place)
    assert accepted(text)
    port = serve(
        edge, {"shop": backend("web")}, {"own.conf": text}, Route("/files/", files="f", fallback="a.txt")
    )
    for path in ("/x", "/x/y"):
        assert "secret" not in ask(port, path).body
    assert ask(port, "/files/a.txt").body == "a"
    assert ask(port, "/.well-known/acme-challenge/token").body == "t"


def test_a_refused_snippet_is_named_with_its_repository_path(edge: Edge, backend: Make) -> None:
    shop, blog = backend("shop"), backend("blog")
    port = serve(edge, {"shop": shop, "blog": blog}, {"docker/nginx/own.conf": "return 200 before;"})
    generation, before = edge.current.readlink(), edge.sites()
    text = "gzip on;\n\nlocation = /x {\n    return 200 a b;\n}\n"
    for act in (edge.check, edge.switch):
        broken = Site(
            "shop", 2, port, (shop.address,), routing=Routing(snippets={"docker/nginx/own.conf": text})
        )
        with pytest.raises(EdgeError) as caught:
            act({"shop": broken})
        assert caught.value.what == (
            'nginx refuses the new configuration: invalid number of arguments in "return" directive'
        )
        assert caught.value.where == "docker/nginx/own.conf:4: return 200 a b;"
        assert (edge.current.readlink(), edge.sites()) == (generation, before)
        assert len(list(edge.trees.iterdir())) <= 3
        assert ask(port).body == "before"
        assert ask(before["blog"].port).body == "blog"
    blog_site = Site("blog", 2, before["blog"].port, (blog.address,))
    edge.switch({"blog": blog_site})
    assert ask(blog_site.port).headers["X-Pushrod-Release"] == "2"


def test_a_check_changes_nothing(edge: Edge, backend: Make) -> None:
    port = serve(edge, {"shop": backend("web")}, {})
    trees, mark = sorted(edge.trees.iterdir()), edge.mark()
    edge.check({"shop": Site("shop", 2, port, ("127.0.0.1:1",))})
    assert sorted(edge.trees.iterdir()) == trees
    assert mark is not None
    assert edge._serves(mark.generation)
    assert ask(port).headers["X-Pushrod-Release"] == "1"

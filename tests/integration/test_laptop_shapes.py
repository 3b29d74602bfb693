"""Projects as public repositories have them, deployed without Docker: each answers what its code says."""

import re
import shutil
from collections.abc import Callable

import pytest

from devtools.apps import PUSHROD, App, Done, Machine, run
from devtools.servers import free_port
from pushrod.engines.embedded import rooms
from tests.conftest import spread
from tests.integration.laptop_shapes import COPIED, SERVER, SHAPES, compose
from tests.unit.engines.embedded import kernel

pytestmark = pytest.mark.integration

REFUSED = rooms.refusal_for(None)

REFUSALS = {
    "a program of the image's system": (
        {
            "Dockerfile": f"{COPIED}RUN apt-get update && apt-get install -y wkhtmltopdf\nCMD python app.py\n",
            "app.py": "",
        },
        "web: its image installs wkhtmltopdf, and this machine has no wkhtmltopdf",
        5,
    ),
    "another language": (
        {
            "Dockerfile": 'FROM golang:1.23\nWORKDIR /src\nCOPY . .\nRUN go build -o /shop\nCMD ["/shop"]\n',
            "main.go": "",
        },
        "web: its program `/shop` is neither",
        5,
    ),
    "an image that only a registry has": (
        {"compose.yaml": compose('image: ghcr.io/example/shop:1\nports: ["80:80"]')},
        "web runs the image ghcr.io/example/shop:1",
        3,
    ),
    "a foreign store": (
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: python app.py', "  db: {image: 'mongo:7'}\n"
            )
        },
        "db is a store (mongo:7) that needs the Docker engine",
        3,
    ),
}


def made(machine: Machine, name: str, prefix: str) -> App:
    """The app of a shape, not pushed."""
    shape = SHAPES[name]
    if shape.program and not shutil.which(shape.program):
        pytest.skip(f"no {shape.program} on this machine")
    app = machine.app(
        prefix + re.sub(r"\W+", "-", name.lower())[:20].strip("-"),
        push=False,
        files={"server.py": SERVER} | shape.files,
    )
    for path in app.tree.path.rglob("*start"):
        path.chmod(0o755)
    app.tree.commit({})
    if variable := shape.secret[0]:
        app.must("secret", "set", variable, stdin=shape.secret[1])
    return app


@pytest.mark.skipif(bool(REFUSED), reason=f"the kernel refuses addresses of their own: {REFUSED}")
@pytest.mark.parametrize("name", spread(SHAPES, 10))
def test_it_answers(name: str, machine: Machine) -> None:
    shape = SHAPES[name]
    app = made(machine, name, "s")
    try:
        done = app.tree.push()
        assert done.ok, done.err
        answer = app.get(shape.path)
        assert answer.body.startswith(shape.answer), answer.body
        if name in TWICE:
            app.tree.commit({"more": ""})
            assert app.tree.push().ok
            assert app.get(shape.path).release == 2
    finally:
        app.must("down")


@pytest.mark.parametrize("what", ["namespaces", "filters"])
def test_where_the_kernel_refuses(what: str, new_machine: Callable[[], Machine]) -> None:
    """Stores keep their address and port. Without namespaces instances do too, but names do not resolve; without
    filters they get ports of their own, and receive them.
    """
    machine, port = new_machine(), free_port()
    web = f'build: .\nports: ["80:{port}"]\ncommand: python app.py\nenvironment: {{CACHE_HOST: redis}}\n'
    files = {
        "server.py": SERVER,
        "compose.yaml": compose(web, "  redis: {image: redis}\n"),
        "Dockerfile": COPIED,
        "app.py": "from server import *\nimport urllib.parse\nu = urllib.parse.urlsplit(os.environ['REDIS_URL'])\n"
        "login = f'AUTH {u.username} {u.password}'.encode()\n"
        "host = os.environ['CACHE_HOST']\n"
        "serve(lambda: f'{u.port} {redis(host, u.port, login)}', '0.0.0.0', int(os.environ['PORT']))\n",
    }
    app = machine.app("refused", push=False, files=files)

    def push() -> Done:
        argv = kernel.refusing(what, ["git", "push", "--no-progress", "pushrod", "HEAD:main"])
        return run(argv, app.tree.path, app.tree.env)

    done = push()
    assert done.ok, done.err
    assert app.get().body == "6379 +PONG"
    (instance,) = app.release(1)["instances"]
    app.tree.commit({"app.py": f"from server import *\nserve(lambda: 'x', port={port})\n"})
    planned = run(kernel.refusing(what, [*PUSHROD, "plan", "--app", "refused"]), app.tree.path, app.tree.env)
    assert "the names redis do not resolve" in planned.out, planned.err
    done = push()
    if what == "namespaces":
        assert (done.ok, app.get().body) == (True, "x"), done.err
        assert (instance["address"][:4], instance["port"]) == ("127.", port)
        assert "mount namespaces" in planned.out
        return
    assert instance.get("address", "127.0.0.1") == "127.0.0.1"
    assert instance["port"] in range(20000, 27000)
    assert not done.ok
    assert f"listens on port {port}, not on 2" in done.err
    assert "refuses user namespaces or seccomp" in done.err
    assert app.get().release == 1


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_run_is_refused_by_name_at_plan(name: str, machine: Machine) -> None:
    given, words, status = REFUSALS[name]
    files = {"compose.yaml": compose('build: .\nports: ["8000"]'), "Dockerfile": COPIED, **given}
    app = machine.app("r" + re.sub(r"\W+", "-", name.lower())[:20].strip("-"), push=False, files=files)
    planned, pushed = app.pushrod("plan"), app.tree.push()
    assert planned.status == status
    assert words in planned.err, planned.err
    assert "to do:" in planned.err
    assert words in pushed.err, pushed.err


TWICE = ("a port in the code, and Redis by its name", "services that call each other by name")

KEPT = {
    "server.py": SERVER,
    "compose.yaml": compose(
        'build: .\nports: ["8000"]\ncommand: python app.py\n'
        "volumes: ['media:/code/media', 'cache:/var/lib/pushrod-cache', './uploads:/pushrod-uploads', "
        "'./settings.txt:/etc/pushrod-settings.txt:ro', '.:/code']",
        "  worker:\n    build: .\n    command: python worker.py\n    volumes: ['media:/pushrod-media']\n"
        "volumes: {media: , cache: }\n",
    ),
    "Dockerfile": COPIED,
    "media/first.txt": "from the image",
    "settings.txt": "settings",
    "app.py": "from server import *\nfrom pathlib import Path\n"
    "media, cache, uploads = Path('media'), Path('/var/lib/pushrod-cache'), Path('/pushrod-uploads')\n"
    "settings = Path('/etc/pushrod-settings.txt')\n"
    "def answer(path):\n    if path == '/write':\n        for place in (media, cache, uploads):\n"
    "            (place / 'new.txt').write_text('kept')\n"
    "    found = [p for d in (media, cache, uploads) for p in sorted(d.iterdir())]\n"
    "    return ' '.join([settings.read_text(), *(f'{p.name}={p.read_text()}' for p in found)])\n"
    "serve(answer)\n",
    "worker.py": "import pathlib, time\npathlib.Path('/pushrod-media/worker.txt').write_text('worked')\n"
    "time.sleep(9999)\n",
}


@pytest.mark.skipif(bool(REFUSED), reason=f"the kernel refuses addresses of their own: {REFUSED}")
def test_volumes_are_where_the_file_says_and_are_kept(machine: Machine) -> None:
    app = machine.app("volumes", files=KEPT)
    first = "settings first.txt=from the image"
    try:
        assert app.get("/").body == f"{first} worker.txt=worked"
        written = app.get("/write").body
        assert written == f"{first} new.txt=kept worker.txt=worked new.txt=kept new.txt=kept"
        app.tree.commit({"media/first.txt": "newer, which an existing volume does not take over"})
        assert app.tree.push().ok
        assert (app.get("/").release, app.get("/").body) == (2, written)
        app.must("down")
        app.must("up")
        assert app.get("/").body == written
    finally:
        app.must("down")


FILES_OF_NGINX = {
    "server.py": SERVER,
    "compose.yaml": compose(
        'build: .\ncommand: sh -c "python manage.py collectstatic --noinput && exec python app.py"\n'
        'expose: ["8000"]\n'
        "volumes: ['static:/code/static', 'media:/code/media']",
        "  nginx:\n    image: nginx:1.27\n    ports: ['80:80']\n    depends_on: [web]\n"
        "    volumes: ['./nginx.conf:/etc/nginx/conf.d/default.conf:ro', 'static:/srv/static:ro', "
        "'media:/srv/media:ro', './pages:/srv/pages:ro']\nvolumes: {static: , media: }\n",
    ),
    "nginx.conf": "upstream web { server web:8000; }\nserver {\n  listen 80;\n"
    "  location / { proxy_pass http://web; }\n  location /static/ { alias /srv/static/; }\n"
    "  location /media { root /srv; }\n  location /pages/ { root /srv; }\n"
    "  location ~* \\.(ico|txt)$ { root /srv/pages; }\n}\n",
    "pages/index.html": "page",
    "pages/help.html": "help",
    "pages/robots.txt": "robots",
    "Dockerfile": COPIED + "RUN VERSION=image python manage.py collectstatic --noinput\n",
    "manage.py": "import os\nos.makedirs('static/css', exist_ok=True)\n"
    "name = 'built' if os.environ.get('VERSION') else 'started'\n"
    "open(f'static/css/{name}.css', 'w').write('release one')\n",
    "app.py": "from server import *\ndef answer(path):\n"
    "    if path == '/upload':\n        open('media/photo.txt', 'w').write('uploaded')\n"
    "    return 'app ' + path\nserve(answer)\n",
}


@pytest.mark.skipif(bool(REFUSED), reason=f"the kernel refuses addresses of their own: {REFUSED}")
def test_the_edge_serves_the_files_of_the_nginx_that_it_replaces(machine: Machine) -> None:
    """From volumes that the app fills when it is built, when it starts and while it runs, and from the commit."""
    app = machine.app("served", files=FILES_OF_NGINX)
    try:
        assert app.get("/").body == "app /"
        for path, body in {
            "/static/css/built.css": "release one",
            "/static/css/started.css": "release one",
            "/pages/help.html": "help",
            "/robots.txt": "robots",
            "/other.txt": "app /other.txt",
            "/help.html": "app /help.html",
        }.items():
            answer = app.get(path)
            assert (answer.status, answer.body) == (200, body), path
        assert [app.get(p).status for p in ("/media/photo.txt", "/static/x.css")] == [404, 404]
        assert app.get("/upload").body == "app /upload"
        assert app.get("/media/photo.txt").body == "uploaded"
        changed = str(FILES_OF_NGINX["manage.py"]).replace("release one", "release two")
        page = "location / { root /srv/pages; try_files $uri /index.html; }"
        given = f"{page}\n  location /api/ {{ proxy_pass http://web/; }}"
        conf = str(FILES_OF_NGINX["nginx.conf"]).replace("location / { proxy_pass http://web; }", given)
        app.tree.commit({"manage.py": changed, "nginx.conf": conf})
        assert app.tree.push().ok
        assert app.get("/static/css/built.css").body == "release two"
        assert app.get("/static/css/started.css").body == "release two"
        assert app.get("/media/photo.txt").body == "uploaded"
        paths = ("/", "/help.html", "/orders/7", "/robots.txt", "/api/7")
        assert [app.get(p).body for p in paths] == ["page", "help", "page", "robots", "app /7"]
        planned = app.must("plan", "HEAD")
        assert "nginx: pushrod's edge (nginx) replaces it" in planned
        assert "the edge serves /, /static/, /media, /pages/, /api/ itself" in planned
    finally:
        app.must("down")


def test_volumes_where_the_kernel_refuses_namespaces(new_machine: Callable[[], Machine]) -> None:
    """Data below the working directory are there by a link; another place is refused before anything runs."""
    machine = new_machine()
    web = 'build: .\nports: ["8000:8000"]\ncommand: python app.py\nvolumes: ["media:/code/media"]'
    files = {
        "server.py": SERVER,
        "compose.yaml": compose(web, "volumes: {media: }\n"),
        "Dockerfile": COPIED,
        "app.py": "from server import *\nfrom pathlib import Path\nfile = Path('media/n.txt')\n"
        "file.write_text(file.read_text() + 'n' if file.exists() else 'n')\n"
        "serve(lambda: file.read_text(), port=int(os.environ['PORT']))\n",
    }
    app = machine.app("linked", push=False, files=files)

    def refused(*argv: str) -> Done:
        return run(kernel.refusing("namespaces", argv), app.tree.path, app.tree.env)

    push = ("git", "push", "--no-progress", "pushrod", "HEAD:main")
    for body in ("n", "nn"):
        done = refused(*push)
        assert done.ok, done.err
        assert app.get().body == body
        app.tree.commit({"more": body})
    app.tree.commit({"compose.yaml": compose(web.replace("/code/media", "/data"), "volumes: {media: }\n")})
    done = refused(*push)
    assert not done.ok
    assert (
        "web: `media` cannot be mounted at /data: the kernel of this machine refuses mount namespaces"
        in done.err
    )
    assert "services.web.volumes" in done.err
    assert app.get().body == "nn"
    planned = refused(*PUSHROD, "plan", "--app", "linked", "HEAD~1")
    assert "refuses mount namespaces" in planned.out, planned.err
    assert "read DATABASE_URL" in planned.out

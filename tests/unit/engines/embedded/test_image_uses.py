"""What counts as a use of a service's name, or of a path of the image."""

from pathlib import Path

import pytest

from pushrod.engines.embedded import image_uses
from pushrod.engines.embedded.volumes import Layout

NAMES = ("db", "redis", "api", "web-1")
KNOWN = ("REDIS_URL", "DB_HOST")


def written(place: Path, **files: str) -> Path:
    for name, text in files.items():
        path = place / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def names(place: Path) -> list[str]:
    return [f"{use.word} {use.where}" for use in image_uses.names(NAMES, KNOWN, place, (), place)]


@pytest.mark.parametrize(
    "line",
    [
        'r = Redis("redis")',
        "s = socket.create_connection(('db', 5432))",
        'r = redis.Redis(host="redis", port=6379)',
        "DATABASES = {'HOST': 'db'}",
        'requests.get("http://api:9000/v1")',
        'URL = f"http://api/{path}"',
        'broker = "amqp://user:pass@redis/0"',
        'wait("db:5432")',
        'host = os.environ.get("CACHE_HOST", "redis")',
        'const host = process.env.PGHOST || "db";',
        'db_server: str = "db"',
        'urlopen("http://web-1:80")',
    ],
)
def test_lines_that_use_a_name(line: str, tmp_path: Path) -> None:
    written(tmp_path, app__main_dot_py=f"import os\n{line}\n")
    (uses,) = names(tmp_path)
    assert uses.endswith(" app/main.py:2")


@pytest.mark.parametrize(
    "line",
    [
        "# see http://api:9000",
        "import redis",
        'kind = "redis"',
        'x = values["db"]',
        'logger = get("api", "db")',
        'url = os.environ.get("REDIS_URL", "redis://redis:6379/0")',
        'host = config("DB_HOST", default="db")',
        'redis_url: str = "redis://redis:6379"',
        'host = os.getenv("DB_HOST") or "db"',
        'page = "https://db.example.com/redis"',
        'route("/api/db:5432x")',
        'fetch("http://localhost:8000/api")',
        'time = "12:30 db"',
    ],
)
def test_lines_that_use_none(line: str, tmp_path: Path) -> None:
    assert names(written(tmp_path, main_dot_py=f"{line}\n")) == []


def test_scripts_that_wait(tmp_path: Path) -> None:
    script = "#!/bin/sh\nuntil nc -z db 5432; do sleep 1; done\n"
    assert names(written(tmp_path, start=script, readme="nc -z db 5432\n")) == ["db start:2"]
    assert names(written(tmp_path, start='#!/bin/sh\nnc -z "$DB_HOST" 5432 || echo no db\n')) == []
    assert names(written(tmp_path, start="#!/bin/sh\n: ${DB_HOST:-db:5432}\n")) == []


def test_files_that_do_not_run_in_the_service(tmp_path: Path) -> None:
    line = 'get("http://api:9000")\n'
    other = {"tests__a_dot_py": line, "node_modules__a_dot_js": line, "test_a_dot_py": line}
    assert names(written(tmp_path, **other, compose_dot_yaml=line, page_dot_md=line)) == []
    (tmp_path / "link.py").symlink_to("/etc/hosts")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ('open("/code/data/names.txt")', "/code/data/names.txt"),
        ('NAMES = "/code/data/names.txt"', "/code/data/names.txt"),
        ('os.makedirs("/code/new")', "/code/new"),
        ('Path("/code")', "/code"),
        ('url = "sqlite:////code/shop.db"', "/code/shop.db"),
        ('open(f"/data/{name}")', "/data"),
        ('route("/code/orders")', ""),
        ('redirect("/code")', ""),
        ('open("/codes/a")', ""),
        ('get("http://a/code/data/names.txt")', ""),
        ('open("data/names.txt")', ""),
    ],
)
def test_paths_of_the_image(line: str, used: str, tmp_path: Path) -> None:
    written(tmp_path, data__names_dot_txt="", app_dot_py=f"{line}\n")
    uses = list(image_uses.paths(("/code", "/data"), Layout("/code", tmp_path), (), tmp_path))
    assert [(use.word, use.where) for use in uses] == ([(used, "app.py:1")] if used else [])


def test_paths_in_scripts_and_words(tmp_path: Path) -> None:
    written(tmp_path, run_dot_sh="cd /code && curl http://a/code/b\n")
    layout = Layout("/code", tmp_path)
    assert list(image_uses.paths(("/code",), layout, (), tmp_path)) == [("/code", "run.sh:1")]
    words = {"command": "--chdir /code/app", "environment.A": "/codex", "environment.B": "1:/code/b"}
    assert list(image_uses.in_words(("/code",), words)) == [
        ("/code/app", "command"),
        ("/code/b", "environment.B"),
    ]
    assert list(image_uses.in_words((str(tmp_path),), {"command": str(tmp_path)})) == [], (
        "this machine has it"
    )

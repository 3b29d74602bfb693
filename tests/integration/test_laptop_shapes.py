"""Projects as public repositories have them, deployed without Docker: each answers what its code says.

Nothing in them is written for pushrod: hard-coded ports, addresses and names, absolute paths of the image, scripts
that wait for a store. The programs are standard Python, so that no shape needs the Internet.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from devtools.apps import PUSHROD, Done, Machine, run, wheel
from devtools.servers import free_port
from pushrod.engines.embedded import rooms
from tests.unit.engines.embedded import kernel

pytestmark = pytest.mark.integration

REFUSED = rooms.refusal_for(None)

FROM = "FROM python:3.11-slim\nWORKDIR /code\n"
COPIED = f"{FROM}COPY . /code/\n"
SERVER = """\
import http.server, os, socket, subprocess, sys, urllib.request

def sql(**login):
    names = {"host": "PGHOST", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE", "port": "PGPORT"}
    given = {names[k]: str(v) for k, v in login.items()}
    argv = ["psql", "-XAtqc", "select 40 + 2"]
    done = subprocess.run(argv, env={**os.environ, **given}, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip()

def redis(host, port=6379, *words):
    with socket.create_connection((host, port), 5) as s:
        s.sendall(b"".join(b"%s\\r\\n" % w for w in (*words, b"PING")))
        replies = s.makefile()
        return [replies.readline().strip() for _ in (*words, "PING")][-1]

def serve(answer, host="0.0.0.0", port=8000):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                body = str(answer(self.path) if answer.__code__.co_argcount else answer())
            except Exception as e:
                body = repr(e)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())
        def log_message(self, *words):
            pass
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    Server((host, port), Handler).serve_forever()
"""
WAIT = """\
#!/bin/bash
# the usual wait-for-it: host:port, then -- and a command
IFS=: read host port <<< "$1"; shift 2
until (echo > /dev/tcp/$host/$port) 2>/dev/null; do sleep 0.1; done
exec "$@"
"""
POSTGRES = """\
  db:
    image: postgres:16
    environment: {POSTGRES_USER: user, POSTGRES_PASSWORD: pass, POSTGRES_DB: shop}
"""


def compose(web: str, rest: str = "") -> str:
    return f"services:\n  web:\n{re.sub('^', '    ', web, flags=re.M)}\n{rest}"


class Shape(NamedTuple):
    files: dict[str, Any]
    answer: str
    path: str = "/"


SHAPES = {
    "a port in the code, and Redis by its name": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:5000"]\n', "  redis: {image: redis:alpine}\n"),
            "Dockerfile": f'{FROM}ENV FLASK_APP=app.py\nCOPY . .\nEXPOSE 5000\nCMD ["python", "app.py"]\n',
            "app.py": 'from server import *\nserve(lambda: redis("redis"), port=5000)\n',
        },
        "+PONG",
    ),
    "a script that waits with nc, and a database by its parts": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["80:8000"]\ndepends_on: [db]\n'
                "environment: {DB_HOST: db, DB_USER: user, DB_PASS: pass}",
                POSTGRES,
            ),
            "Dockerfile": f"{FROM}RUN apt-get update && apt-get install -y netcat-traditional\n"
            "COPY ./entrypoint.sh /entrypoint.sh\nRUN chmod +x /entrypoint.sh\nCOPY . /code/\n"
            'ENTRYPOINT ["/entrypoint.sh"]\nCMD ["python", "/code/app.py"]\n',
            "entrypoint.sh": '#!/bin/sh\nset -e\nwhile ! nc -z "$DB_HOST" 5432; do sleep 0.1; done\nexec "$@"\n',
            "app.py": "from server import *\ne = os.environ\n"
            "login = {'user': e['DB_USER'], 'password': e['DB_PASS'], 'dbname': 'shop'}\n"
            "serve(lambda: sql(host=e['DB_HOST'], port=5432, **login))\n",
        },
        "42",
    ),
    "the superuser of the image, in an address in the code": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: ["./wait-for-it.sh", "db:5432", "--", "python", "app.py"]',
                "  db:\n    image: postgres\n    environment: {POSTGRES_PASSWORD: postgres}\n",
            ),
            "Dockerfile": COPIED + "RUN chmod +x wait-for-it.sh\n",
            "wait-for-it.sh": WAIT,
            "app.py": "from server import *\n"
            "serve(lambda: sql(host='db', user='postgres', password='postgres', dbname='postgres'))\n",
        },
        "42",
    ),
    "a Redis with a password": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: python app.py',
                '  cache: {image: "redis:7", command: redis-server --requirepass s3cret --port 6380}\n',
            ),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nserve(lambda: redis('cache', 6380, b'AUTH s3cret'))\n",
        },
        "+PONG",
    ),
    "several stages, and an environment copied between them": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:8000"]\n'),
            "Dockerfile": "FROM python:3.11 AS builder\nRUN python -m venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n"
            "COPY requirements/prod.txt .\nRUN pip install --no-cache-dir -r prod.txt\n"
            "FROM python:3.11-slim\nCOPY --from=builder /opt/venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n"
            'WORKDIR /srv/app\nCOPY src/ .\nUSER 1000\nCMD ["python", "-m", "shop"]\n',
            "requirements/prod.txt": "./wheels/greeting-1.0-py3-none-any.whl\n",
            "requirements/wheels/greeting-1.0-py3-none-any.whl": wheel(
                "greeting", {"greeting.py": "text = 'hello'\n"}
            ),
            "src/shop/__main__.py": "from server import *\nimport greeting\n"
            "serve(lambda: greeting.text + os.getcwd())\n",
            "src/server.py": SERVER,
        },
        "hello/srv/app",
    ),
    "a script of the project, run by sh": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: sh /code/scripts/start.sh'),
            "Dockerfile": COPIED,
            "scripts/start.sh": "cd /code && exec python app.py\n",
            "app.py": "from server import *\nserve(lambda: open('/code/data/name.txt').read().strip())\n",
            "data/name.txt": "from an absolute path\n",
        },
        "from an absolute path",
    ),
    "the project's own program, and packages by name": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["9999:9999"]\n'),
            "Dockerfile": COPIED
            + 'RUN pip install ./wheels/greeting-1.0-py3-none-any.whl && pip install .\nCMD ["shop"]\n',
            "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\n[project.scripts]\nshop = "shop.cli:main"\n',
            "wheels/greeting-1.0-py3-none-any.whl": wheel("greeting", {"greeting.py": "text = 'hello'\n"}),
            "src/shop/cli.py": "from server import *\nimport greeting\ndef main():\n"
            "    serve(lambda: greeting.text, port=9999)\n",
            "src/server.py": SERVER,
        },
        "hello",
    ),
    "Poetry": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: poetry run python app.py'),
            "Dockerfile": COPIED + "RUN pip install poetry==1.8\nRUN poetry install --no-root --only main\n",
            "pyproject.toml": '[tool.poetry]\nname = "shop"\nversion = "1"\n'
            '[tool.poetry.dependencies]\npython = "^3.9"\n'
            'greeting = {path = "wheels/greeting-1.0-py3-none-any.whl"}\n',
            "poetry.lock": '[[package]]\nname = "greeting"\nversion = "1.0"\n[package.source]\ntype = "file"\n',
            "wheels/greeting-1.0-py3-none-any.whl": wheel("greeting", {"greeting.py": "text = 'hello'\n"}),
            "app.py": "from server import *\nimport greeting\nserve(lambda: greeting.text)\n",
        },
        "hello",
    ),
    "services that call each other by name": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8080:80"]\ncommand: python web.py\nenvironment: {API: "http://api:9000/v1"}',
                '  api: {build: ., command: python api.py, expose: ["9000"]}\n'
                "  worker: {build: ., command: python worker.py}\n",
            ),
            "Dockerfile": COPIED,
            "web.py": "from server import *\n"
            "serve(lambda: urllib.request.urlopen(os.environ['API']).read().decode(), port=80)\n",
            "api.py": "from server import *\nserve(lambda path: 'api at ' + path, port=9000)\n",
            "worker.py": "import socket, time\nwhile True:\n    try:\n"
            "        socket.create_connection(('api', 9000), 5)\n        time.sleep(9999)\n"
            "    except OSError:\n        time.sleep(0.1)\n",
        },
        "api at /v1",
    ),
    "IPv6, and two ports of one program": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:8000", "9090:9090"]\ncommand: python app.py'),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nimport threading\n"
            "threading.Thread(target=serve, args=(lambda: 'metrics', '0.0.0.0', 9090), daemon=True).start()\n"
            "serve(lambda: urllib.request.urlopen('http://web:9090').read().decode(), '::')\n",
        },
        "metrics",
    ),
    "a Dockerfile in a directory of its own": Shape(
        {
            "compose.yaml": compose(
                'build: {context: ., dockerfile: docker/web/Dockerfile}\nports: ["8000"]\nworking_dir: /code'
            ),
            "docker/web/Dockerfile": f'{COPIED}COPY docker/web/start /usr/local/bin/start-web\nCMD ["start-web"]\n',
            "docker/web/start": "#!/usr/bin/env bash\nexec python app.py\n",
            "app.py": "from server import *\nserve(lambda: 'started')\n",
        },
        "started",
    ),
    "static files that the image's build collects": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: python /code/app.py'),
            "Dockerfile": COPIED + "ENV STATIC=/code/static\n"
            "RUN SECRET_KEY=none python /code/manage.py collectstatic --noinput\n",
            "manage.py": "import os\nos.makedirs('static/css')\n"
            "open('static/css/a.css', 'w').write('collected with ' + os.environ['SECRET_KEY'])\n",
            "app.py": "from server import *\nserve(lambda path: open(os.environ['STATIC'] + path).read())\n",
        },
        "collected with none",
        "/css/a.css",
    ),
    "a program that calls itself, and a script that checks it": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["5001:5001"]\ncommand: python app.py\n'
                'healthcheck: {test: ["CMD", "sh", "check.sh"], interval: 1s}'
            ),
            "Dockerfile": COPIED,
            "check.sh": "exec python3 -c \"import urllib.request as u; u.urlopen('http://localhost:5001/up')\"\n",
            "app.py": "from server import *\nasked = []\ndef answer(path):\n    asked.append(path)\n"
            "    own = 'http://127.0.0.1:5001/own'\n"
            "    return urllib.request.urlopen(own).read().decode() if path == '/' else ','.join(asked)\n"
            "serve(answer, port=5001)\n",
        },
        "/up,/,/own",
    ),
    "a health check of the image's own address": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["5001:5001"]\ncommand: python app.py\nhealthcheck:\n'
                '  test: ["CMD", "python", "-c", "import urllib.request as u; u.urlopen(\'http://localhost:5001/up\')"]\n'
                "  interval: 1s"
            ),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nasked = []\n"
            "serve(lambda path: asked.append(path) or ','.join(asked), port=5001)\n",
        },
        "/up",
    ),
    "a procfile, and the port of the platform": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]'),
            "Dockerfile": COPIED,
            "Procfile": "web: python app.py --port $PORT\n",
            "app.py": "from server import *\nserve(lambda: 'procfile', port=int(sys.argv[2]))\n",
        },
        "procfile",
    ),
    "migrations before the server, in one line of a shell": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000:8000"]\ndepends_on: [db]\n'
                'command: sh -c "python manage.py migrate && python manage.py runserver 0.0.0.0:8000"\n'
                "environment: [DATABASE_URL=postgresql://user:pass@db:5432/shop]",
                POSTGRES,
            ),
            "Dockerfile": COPIED,
            "manage.py": "from server import *\nimport urllib.parse\n"
            "u = urllib.parse.urlsplit(os.environ['DATABASE_URL'])\n"
            "login = {'host': u.hostname, 'port': u.port, 'user': u.username, 'password': u.password}\n"
            "if sys.argv[1] == 'migrate':\n    assert sql(dbname=u.path[1:], **login) == '42'\n"
            "else:\n    serve(lambda: sql(dbname=u.path[1:], **login), *[sys.argv[2].split(':')[0]])\n",
        },
        "42",
    ),
    "an entrypoint of the manifest, and a command for it": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\nentrypoint: sh ./entrypoint.sh\ncommand: python app.py'
            ),
            "Dockerfile": COPIED,
            "entrypoint.sh": 'set -eu\nexport READY=prepared\nexec "$@"\n',
            "app.py": "from server import *\nserve(lambda: os.environ['READY'])\n",
        },
        "prepared",
    ),
    "a worker and a scheduler beside the site": Shape(
        {
            "compose.yaml": "x-app: &app {build: ., depends_on: [redis]}\nservices:\n"
            "  web: {<<: *app, command: python app.py, ports: ['8000:8000']}\n"
            "  worker: {<<: *app, command: python tasks.py worker}\n"
            "  beat: {<<: *app, command: python tasks.py beat}\n  redis: {image: 'redis:7-alpine'}\n",
            "Dockerfile": COPIED,
            "tasks.py": "from server import *\nimport time\nkey = sys.argv[1].encode()\n"
            "print(redis('redis', 6379, b'SET %s done' % key))\ntime.sleep(9999)\n",
            "app.py": "from server import *\nimport time\n"
            "def asked(key):\n    with socket.create_connection(('redis', 6379), 5) as s:\n"
            "        s.sendall(b'GET %s\\r\\n' % key)\n        return s.recv(99).split()[1].decode()\n"
            "def answer():\n    for _ in range(100):\n        try:\n"
            "            return ' '.join(asked(k) for k in (b'worker', b'beat'))\n"
            "        except IndexError:\n            time.sleep(0.1)\nserve(answer)\n",
        },
        "done done",
    ),
    "a job that must end before the site starts": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: python app.py\n'
                "depends_on: {migrate: {condition: service_completed_successfully}}",
                "  migrate: {build: ., command: python migrate.py, depends_on: [db]}\n"
                + POSTGRES
                + "    healthcheck: {test: [CMD-SHELL, pg_isready -U user], interval: 2s}\n",
            ),
            "Dockerfile": COPIED,
            "migrate.py": "from server import *\nlogin = {'user': 'user', 'password': 'pass', 'dbname': 'shop'}\n"
            "assert sql(host='db', **login) == '42'\n",
            "app.py": "from server import *\nlogin = {'user': 'user', 'password': 'pass', 'dbname': 'shop'}\n"
            "serve(lambda: sql(host='db', **login))\n",
        },
        "42",
    ),
    "a stage by its name, with arguments of the build": Shape(
        {
            "compose.yaml": compose(
                'build: {context: ., target: production, args: {PLACE: /srv/shop}}\nports: ["8000"]'
            ),
            "Dockerfile": "ARG VERSION=3.11\nFROM python:${VERSION}-slim AS base\nENV PYTHONUNBUFFERED=1\n"
            "FROM base AS production\nARG PLACE=/app\nWORKDIR ${PLACE}\nRUN groupadd app && useradd -g app app\n"
            "COPY --chown=app:app . .\nUSER app\nENV MODE=production\nCMD exec python app.py\n"
            'FROM base AS development\nCMD ["false"]\n',
            "app.py": "from server import *\nserve(lambda: os.environ['MODE'] + os.getcwd())\n",
        },
        "production",
    ),
    "an init in front, and a module": Shape(
        {
            "compose.yaml": compose('build: ./backend\nports: ["8080:8080"]\ninit: true'),
            "backend/Dockerfile": "# syntax=docker/dockerfile:1\nFROM python:3.11\n"
            'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\n'
            "RUN apt-get update && apt-get install -y --no-install-recommends tini gcc libpq-dev \\\n"
            "    && rm -rf /var/lib/apt/lists/*\n"
            "WORKDIR /usr/src/app\nENV PYTHONPATH=/usr/src/app/src\nCOPY . .\n"
            'ENTRYPOINT ["tini", "--"]\nCMD ["python", "-m", "shop.main"]\n',
            "backend/src/shop/main.py": "from server import *\nserve(lambda: 'module', port=8080)\n",
            "backend/src/server.py": SERVER,
        },
        "module",
    ),
    "requirements in a mounted cache, and a wheel": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: greet --bind 0.0.0.0:8000'),
            "Dockerfile": f"{FROM}RUN --mount=type=cache,target=/root/.cache/pip pip install --upgrade pip\n"
            "COPY wheels wheels\nCOPY requirements.txt ./\n"
            "RUN --mount=type=cache,target=/root/.cache/pip \\\n    pip install -r requirements.txt\nCOPY . .\n",
            "requirements.txt": "./wheels/greeting-1.0-py3-none-any.whl  # from our own index\n",
            "wheels/greeting-1.0-py3-none-any.whl": wheel(
                "greeting",
                {
                    "greeting.py": "import sys\nsys.path.insert(0, '.')\nfrom server import serve\n"
                    "def main():\n    host, port = sys.argv[2].split(':')\n"
                    "    serve(lambda: 'greeted', host, int(port))\n",
                    "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
                },
            ),
        },
        "greeted",
    ),
    "Pipenv": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: pipenv run python app.py'),
            "Dockerfile": COPIED + "RUN pip install pipenv && pipenv install --system --deploy\n",
            "Pipfile": '[packages]\ngreeting = {path = "./wheels/greeting-1.0-py3-none-any.whl"}\n',
            "Pipfile.lock": '{"_meta": {}, "default": {"greeting": '
            '{"file": "./wheels/greeting-1.0-py3-none-any.whl"}}, "develop": {}}\n',
            "wheels/greeting-1.0-py3-none-any.whl": wheel("greeting", {"greeting.py": "text = 'hello'\n"}),
            "app.py": "from server import *\nimport greeting\nserve(lambda: greeting.text)\n",
        },
        "hello",
    ),
    "a project by its own description": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000"]\ncommand: shop'),
            "Dockerfile": f"{FROM}COPY pyproject.toml ./\nCOPY shop shop\nRUN pip install .\n",
            "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\ndependencies = []\n'
            '[project.scripts]\nshop = "shop.main:run"\n',
            "shop/main.py": "from server import serve\ndef run():\n    serve(lambda: 'hello')\n",
        },
        "hello",
    ),
    "code mounted over the image's, as for development": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["5000:5000"]\nvolumes: [".:/code", "/code/.venv"]\n'
                "environment: [FLASK_ENV=development]\ncommand: python -u app.py"
            ),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nserve(lambda: os.environ['FLASK_ENV'] + os.getcwd(), port=5000)\n",
        },
        "development/code",
    ),
    "a pulled image of Python that runs the commit": Shape(
        {
            "compose.yaml": compose(
                'image: python:3.12\nworking_dir: /app\nvolumes: ["./:/app"]\nports: ["8000:8000"]\n'
                "command: python /app/app.py"
            ),
            "app.py": "from server import *\nserve(lambda: open('/app/name.txt').read())\n",
            "name.txt": "pulled",
        },
        "pulled",
    ),
    "SQLite in a volume": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\nvolumes: ["db:/data"]\nenvironment: {DB: /data/shop.sqlite3}',
                "volumes: {db: }\n",
            ),
            "Dockerfile": COPIED + 'VOLUME /data\nCMD ["python", "app.py"]\n',
            "app.py": "from server import *\nimport sqlite3\n"
            "with sqlite3.connect(os.environ['DB']) as c:\n    c.execute('create table if not exists t (n)')\n"
            "    c.execute('insert into t values (1)')\n"
            "serve(lambda: sqlite3.connect(os.environ['DB']).execute('select sum(n) from t').fetchone()[0])\n",
        },
        "1",
    ),
    "a health check that fetches a path, and a service that waits for it": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: python app.py\ndepends_on: {api: {condition: service_healthy}}',
                "  api:\n    build: .\n    command: python api.py\n"
                "    healthcheck: {test: 'curl -f http://localhost:7000/health || exit 1', interval: 5s}\n",
            ),
            "Dockerfile": COPIED,
            "api.py": "from server import *\nserve(lambda path: 'api ' + path, port=7000)\n",
            "app.py": "from server import *\n"
            "serve(lambda path: urllib.request.urlopen('http://api:7000' + path).read().decode())\n",
        },
        "api /x",
        "/x",
    ),
    "settings mounted from the commit, read-only, and memory to write to": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000"]\ncommand: python app.py\nvolumes: ["./config:/etc/shop:ro"]\n'
                'read_only: true\ntmpfs: ["/scratch:size=64k"]'
            ),
            "Dockerfile": COPIED,
            "config/settings.ini": "[shop]\nname = settings\n",
            "app.py": "from server import *\nimport configparser\np = configparser.ConfigParser()\n"
            "p.read('/etc/shop/settings.ini')\ndef written(path):\n    try:\n"
            "        with open(path, 'w') as f:\n            f.write('x' * 9)\n        return 'written'\n"
            "    except OSError as e:\n        return e.strerror\n"
            "places = ('/etc/shop/new', 'new', '/scratch/new')\n"
            "serve(lambda: ', '.join([p['shop']['name'], *map(written, places)]))\n",
        },
        "settings, Read-only file system, Read-only file system, written",
    ),
}
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


@pytest.mark.skipif(bool(REFUSED), reason=f"the kernel refuses addresses of their own: {REFUSED}")
@pytest.mark.parametrize("name", SHAPES)
def test_it_answers(name: str, machine: Machine) -> None:
    shape = SHAPES[name]
    files = {"server.py": SERVER} | shape.files
    app = machine.app("s" + re.sub(r"\W+", "-", name.lower())[:20].strip("-"), push=False, files=files)
    for path in app.tree.path.rglob("*start"):
        path.chmod(0o755)
    app.tree.commit({})
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

"""Projects as public repositories have them, each with what it answers.

Nothing in them is written for pushrod: hard-coded ports, addresses and names, absolute paths of the image, scripts
that wait for a store. The programs are standard Python, so that no project needs the Internet.
"""

import hashlib
import re
from typing import Any, NamedTuple

from devtools.apps import wheel

FROM = "FROM python:3.11-slim\nWORKDIR /code\n"
COPIED = f"{FROM}COPY . /code/\n"
SERVER = """\
import http.server, os, socket, subprocess, sys, urllib.request

def sql(statement="select 40 + 2", **login):
    names = {"host": "PGHOST", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE", "port": "PGPORT"}
    given = {names[k]: str(v) for k, v in login.items()}
    argv = ["psql", "-XAtqc", statement]
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
    secret: tuple[str, str] = ("", "")
    program: str = ""  # which the machine needs


GREETING = wheel("greeting", {"greeting.py": "text = 'hello'\n"})
UV_LOCK = f"""\
version = 1
requires-python = ">=3.11"

[[package]]
name = "greeting"
version = "1.0"
source = {{ path = "wheels/greeting-1.0-py3-none-any.whl" }}
wheels = [{{ filename = "greeting-1.0-py3-none-any.whl", hash = "sha256:{hashlib.sha256(GREETING).hexdigest()}" }}]

[[package]]
name = "shop"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "greeting" }}]

[package.metadata]
requires-dist = [{{ name = "greeting", path = "wheels/greeting-1.0-py3-none-any.whl" }}]
"""
NODE = """\
const greeting = require("greeting");
require("http").createServer((_, answer) => answer.end(greeting)).listen(3000);
process.on("SIGTERM", () => process.exit(0));
"""


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
    "one script for every role, by its first word": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000:8000"]\ncommand: web\ndepends_on: [redis]',
                "  worker: {build: ., command: worker, depends_on: [redis]}\n  redis: {image: 'redis:7-alpine'}\n",
            ),
            "Dockerfile": COPIED
            + 'RUN chmod +x docker-entrypoint.sh\nENTRYPOINT ["./docker-entrypoint.sh"]\nCMD ["web"]\n',
            "docker-entrypoint.sh": '#!/bin/sh\nset -e\n\ncase "$1" in\n  web) shift; exec python app.py "$@" ;;\n'
            '  worker) exec python tasks.py ;;\n  *) exec "$@" ;;\nesac\n',
            "tasks.py": "from server import *\nimport time\nredis('redis', 6379, b'SET role worker')\n"
            "time.sleep(9999)\n",
            "app.py": "from server import *\nimport time\ndef answer():\n"
            "    with socket.create_connection(('redis', 6379), 5) as s:\n        f = s.makefile()\n"
            "        for _ in range(100):\n            s.sendall(b'GET role\\r\\n')\n"
            "            if f.readline().strip() != '$-1':\n                return f.readline().strip()\n"
            "            time.sleep(0.1)\nserve(answer)\n",
        },
        "worker",
    ),
    "uv, and its environment by a path of the image": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:8000"]\n'),
            "Dockerfile": "FROM python:3.12-slim\nCOPY --from=ghcr.io/astral-sh/uv:latest /uv /uvx /bin/\n"
            "ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy\nWORKDIR /app\n"
            "RUN --mount=type=cache,target=/root/.cache/uv \\\n"
            "    --mount=type=bind,source=uv.lock,target=uv.lock \\\n"
            "    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\\n"
            "    uv sync --locked --no-install-project --no-dev\nCOPY . /app\n"
            'RUN uv sync --locked --no-dev\nENV PATH="/app/.venv/bin:$PATH"\nENTRYPOINT []\n'
            'CMD ["/app/.venv/bin/python", "-m", "shop"]\n',
            "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
            'dependencies = ["greeting"]\n[tool.uv.sources]\n'
            'greeting = { path = "wheels/greeting-1.0-py3-none-any.whl" }\n',
            "uv.lock": UV_LOCK,
            "wheels/greeting-1.0-py3-none-any.whl": GREETING,
            "shop/__main__.py": "from server import *\nimport greeting\nserve(lambda: greeting.text)\n",
        },
        "hello",
    ),
    "tables that the database makes at its first start": Shape(
        {
            "compose.yaml": compose(
                'build: .\nports: ["8000:8000"]\ncommand: python app.py\ndepends_on: [db]',
                POSTGRES + "    volumes: ['./db/init.sql:/docker-entrypoint-initdb.d/init.sql:ro', "
                "'pg:/var/lib/postgresql/data']\nvolumes: {pg: }\n",
            ),
            "Dockerfile": COPIED,
            "db/init.sql": "CREATE TABLE products (name text);\nINSERT INTO products VALUES ('desk'), ('lamp');\n",
            "app.py": "from server import *\n"
            "login = {'user': 'user', 'password': 'pass', 'dbname': 'shop', 'host': 'db'}\n"
            "serve(lambda: sql('select count(*) from products', **login))\n",
        },
        "2",
    ),
    "logs and uploads in directories that the image makes": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:8000"]\ncommand: python app.py'),
            "Dockerfile": COPIED
            + "RUN useradd --system app && \\\n    mkdir -p /data/uploads /var/log/shop cache && "
            "chown -R app /data /var/log/shop cache\nUSER app\n",
            "app.py": "from server import *\ndef answer():\n    open('/data/uploads/one.txt', 'w').write('kept')\n"
            "    open('/var/log/shop/app.log', 'w').write('asked')\n"
            "    open('cache/two.txt', 'w').write('cached')\n"
            "    places = ('/data/uploads/one.txt', '/var/log/shop/app.log', '/code/cache/two.txt')\n"
            "    return ' '.join(open(p).read() for p in places)\n"
            "serve(answer)\n",
        },
        "kept asked cached",
    ),
    "Node's own image, the code mounted, and packages that it installs first": Shape(
        {
            "compose.yaml": compose(
                'image: node:18-alpine\nworking_dir: /app\nvolumes: [".:/app"]\nports: ["3000:3000"]\n'
                'command: sh -c "npm install && npm start"'
            ),
            "package.json": '{"name": "shop", "version": "1.0.0", "scripts": {"start": "node index.js"}, '
            '"dependencies": {"greeting": "file:./greeting"}}',
            "greeting/package.json": '{"name": "greeting", "version": "1.0.0", "main": "index.js"}',
            "greeting/index.js": 'module.exports = "hello from node";\n',
            "index.js": NODE,
        },
        "hello from node",
        program="npm",
    ),
    "targets of make": Shape(
        {
            "compose.yaml": compose('build: .\nports: ["8000:8000"]\ncommand: make serve'),
            "Dockerfile": "FROM python:3.11\nWORKDIR /code\nCOPY . .\n",
            "Makefile": "MODE ?= made\n.PHONY: serve check\nserve: check\n\t@MODE=$(MODE) exec python app.py\n"
            "check:\n\t@test -f app.py\n",
            "app.py": "from server import *\nserve(lambda: os.environ['MODE'])\n",
        },
        "made",
        program="make",
    ),
    "files that Python's own server shows": Shape(
        {
            "compose.yaml": compose(
                "image: python:3-alpine\ncommand: python -m http.server 8000 --directory /site\n"
                'volumes: ["./site:/site:ro"]\nports: ["80:8000"]'
            ),
            "site/index.html": "a page",
        },
        "a page",
    ),
    "names of containers and links": Shape(
        {
            "compose.yaml": compose(
                'build: .\ncontainer_name: shop-web\nports: ["8000:8000"]\ncommand: python app.py\n'
                "links: ['redis:cache', db]\nenvironment: {DB: 'postgres://user:pass@shop_db:5432/shop'}",
                "  redis: {image: 'redis:alpine', container_name: shop_redis, expose: ['6379']}\n"
                + POSTGRES
                + "    container_name: shop_db\n",
            ),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nimport urllib.parse\nu = urllib.parse.urlsplit(os.environ['DB'])\n"
            "login = {'user': u.username, 'password': u.password, 'dbname': u.path[1:], 'host': u.hostname}\n"
            "serve(lambda: ' '.join([sql(**login), sql(**login | {'host': 'shop_db'}), redis('cache'), "
            "redis('shop_redis')]))\n",
        },
        "42 42 +PONG +PONG",
    ),
    "variables of a file, with defaults in the manifest": Shape(
        {
            "compose.yaml": compose(
                "build: {context: ., args: {DIR: src}}\nenv_file: [{path: config/web.env}, "
                "{path: config/local.env, required: false}]\nports: ['${WEB_PORT:-8080}:${APP_PORT:-8000}']\n"
                "command: python src/app.py --port ${APP_PORT:-8000}\nenvironment:\n  MODE: ${MODE:-production}\n"
                "  TITLE: overridden"
            ),
            "Dockerfile": COPIED,
            "config/web.env": '# what the site shows\nTITLE=Shop\nGREETING="hello, world"  # quoted\nEMPTY=\n',
            "src/server.py": SERVER,
            "src/app.py": "from server import *\ne = os.environ\n"
            "serve(lambda: '|'.join([e['TITLE'], e['GREETING'], e['EMPTY'], e['MODE']]), port=int(sys.argv[2]))\n",
        },
        "overridden|hello, world||production",
    ),
    "scripts at the root of the image, and a database that Python waits for": Shape(
        {
            "compose.yaml": compose(
                "image: shop_django\nbuild: {context: ., dockerfile: ./compose/django/Dockerfile}\n"
                "command: /start\nports: ['8000:5000']\ndepends_on: [postgres]\n"
                "environment: &env {POSTGRES_HOST: postgres, POSTGRES_PORT: 5432, POSTGRES_DB: shop, "
                "POSTGRES_USER: debug, POSTGRES_PASSWORD: debug}",
                "  postgres:\n    image: postgres:16\n    environment: *env\n"
                "    volumes: ['pg:/var/lib/postgresql/data']\nvolumes: {pg: {}}\n",
            ),
            "compose/django/Dockerfile": "ARG BUILD_ENVIRONMENT=production\nFROM docker.io/python:3.12 AS python\n"
            "FROM python AS python-run-stage\nARG BUILD_ENVIRONMENT\nARG APP_HOME=/app\n"
            "ENV PYTHONUNBUFFERED=1\nENV BUILD_ENV=${BUILD_ENVIRONMENT}\nWORKDIR ${APP_HOME}\n"
            "RUN addgroup --system django \\\n    && adduser --system --ingroup django django\n"
            "COPY --chown=django:django ./compose/django/entrypoint /entrypoint\n"
            "RUN sed -i 's/\\r$//g' /entrypoint\nRUN chmod +x /entrypoint\n"
            "COPY --chown=django:django ./compose/django/start /start\nRUN sed -i 's/\\r$//g' /start\n"
            "RUN chmod +x /start\nCOPY --chown=django:django . ${APP_HOME}\n"
            'RUN chown django:django ${APP_HOME}\nUSER django\nENTRYPOINT ["/entrypoint"]\n',
            "compose/django/entrypoint": "#!/bin/bash\nset -o errexit\nset -o pipefail\nset -o nounset\n"
            'export DATABASE="postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:'
            '${POSTGRES_PORT}/${POSTGRES_DB}"\npython << END\nimport socket, time\nwhile True:\n    try:\n'
            '        socket.create_connection(("${POSTGRES_HOST}", "${POSTGRES_PORT}"))\n        break\n'
            "    except OSError:\n        time.sleep(0.1)\nEND\n>&2 echo 'PostgreSQL is available'\nexec \"$@\"\n",
            "compose/django/start": "#!/bin/bash\nset -o errexit\npython /app/manage.py collectstatic --noinput\n"
            "exec python -m config.server\n",
            "manage.py": "import sys\nassert open('/app/templates/base.html').read() == 'page'\nprint(sys.argv)\n",
            "templates/base.html": "page",
            "config/__init__.py": "",
            "config/server.py": "import sys\nsys.path.insert(0, '/app')\nfrom server import *\n"
            "import urllib.parse\nu = urllib.parse.urlsplit(os.environ['DATABASE'])\n"
            "login = {'user': u.username, 'password': u.password, 'dbname': u.path[1:], 'host': u.hostname}\n"
            "serve(lambda: sql(**login) + open('/app/templates/base.html').read(), port=5000)\n",
        },
        "42page",
    ),
    "a Redis whose password is a secret in its command": Shape(
        {
            "compose.yaml": compose(
                "build: .\nports: ['8000:8000']\ncommand: python app.py\n"
                "environment: {CACHE_URL: 'redis://:${CACHE_PASSWORD}@cache:6379/0'}",
                "  cache: {image: 'redis:7', command: 'redis-server --requirepass ${CACHE_PASSWORD}'}\n",
            ),
            "Dockerfile": COPIED,
            "app.py": "from server import *\nimport urllib.parse\n"
            "u = urllib.parse.urlsplit(os.environ['CACHE_URL'])\n"
            "login = f'AUTH {u.username} {u.password}' if u.username else f'AUTH {u.password}'\n"
            "serve(lambda: redis(u.hostname, u.port, login.encode()))\n",
        },
        "+PONG",
        secret=("CACHE_PASSWORD", "b6f0c2d49a417e85"),
    ),
}

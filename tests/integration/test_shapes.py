"""Manifests as found in public repositories: for each shape, the result on both engines.

A row of `shapes/*.yaml` says what a person who reads the file expects: which service is the entry, which are
stores, which notes appear (each by a pattern, and no others), or the words with which it is refused. Nothing is
started: the rows are processed as by `pushrod plan`. `wrong` marks a row that is wrong on purpose: a typo, a file or
a variable that is missing.
"""

import functools
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from devtools import java
from devtools.no_drop import Silent
from pushrod.adapters import git
from pushrod.core.errors import BuildError, ManifestError
from pushrod.engines import registry
from pushrod.engines.embedded.builds import node
from pushrod.engines.protocols import Engine
from pushrod.manifest import image_refs
from pushrod.releases import app_lifecycle
from pushrod.releases.prepare import Sealing
from pushrod.state.apps import App, HostSettings, Root
from pushrod.state.secrets import Secrets
from pushrod.stores import registry as registry_of_stores
from tests.conftest import Tree, spread

pytestmark = pytest.mark.integration

Row = dict[str, Any]
PLACE = Path(__file__).parent / "shapes"
ENGINES = ("docker", "embedded")

PYTHON = (
    f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim\nWORKDIR /code\n"
    "COPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY . .\n"
)
NODE = "FROM node:18-alpine{}\nWORKDIR /app\nCOPY . .\nRUN npm install\n"
PACKAGES = '{"dependencies": {"express": "5"}, "scripts": {"start": "node server.js"}}'
BUILT: dict[str, dict[str, str]] = {
    "python": {
        "Dockerfile": PYTHON,
        "requirements.txt": "gunicorn\ncelery\nflower\n",
        "manage.py": "",
        "prestart.py": "",
    },
    "python-program": {
        "Dockerfile": f'{PYTHON}CMD ["python", "app.py"]\n',
        "requirements.txt": "flask\n",
        "app.py": "",
    },
    "node": {
        "Dockerfile": f'{NODE.format("")}CMD ["npm", "start"]\n',
        "package.json": PACKAGES,
        "server.js": "",
    },
    "static": {
        "Dockerfile": NODE.format(" AS build")
        + "FROM nginx:alpine\nCOPY --from=build /app/dist /usr/share/nginx/html\n",
        "package.json": PACKAGES,
    },
    "go": {
        "Dockerfile": "FROM golang:1.23 AS builder\nWORKDIR /code\nCOPY . .\nRUN go build -o bin/server\n"
        "FROM debian:bookworm-slim\nCOPY --from=builder /code/bin/server /srv/server\nEXPOSE 8080\n"
        'CMD ["/srv/server"]\n',
        "main.go": "package main\n",
    },
    "java": {
        "Dockerfile": "FROM maven:3-eclipse-temurin-21 AS build\nWORKDIR /src\nCOPY . .\nRUN mvn package\n"
        "FROM eclipse-temurin:21-jre\nCOPY --from=build /src/target/app.jar app.jar\nEXPOSE 8080\n"
        'ENTRYPOINT ["java", "-jar", "app.jar"]\n',
        "pom.xml": "<project/>",
    },
    "ruby": {
        "Dockerfile": "FROM ruby:3.3\nWORKDIR /myapp\nCOPY . .\nRUN bundle install\nEXPOSE 3000\n",
        "Gemfile": "gem 'rails'\n",
    },
    "php-fpm": {"Dockerfile": "FROM php:8.3-fpm\nARG user\nWORKDIR /var/www\nCOPY . .\n", "index.php": ""},
    "php-apache": {"Dockerfile": "FROM php:8.3-apache AS builder\nCOPY . /var/www/html\n", "index.php": ""},
    "nginx": {
        "Dockerfile": "FROM nginx:1.27-alpine\nCOPY nginx.conf /etc/nginx/conf.d/default.conf\n",
        "nginx.conf": "",
    },
    "traefik": {
        "Dockerfile": "FROM docker.io/traefik:3.1\nCOPY ./compose/traefik/traefik.yml /etc/traefik\n"
    },
}
NOTES = {
    "chosen": "{} is the entry, because ",
    "closed": "{}: its published port stays closed",
    "edge": "{}: the edge replaces it",
    "forgets": "{}: is replaced with each release",
    "kept": "{}: stays as it is from push to push",
    "named": "{}: `container_name` and `hostname` are only names",
    "networks": "{}: its networks are not created",
    "one port": "{}: of its published ports only ",
    "open": "{}: every account of this machine may use it without a password, because ",
    "replaced": "{}: pushrod's edge .nginx. replaces it",
    "stop first": "{}: stops before its new instances start",
    "stores closed": "{}: published ports of stores stay closed",
    "unasked": "{}: pushrod gives it no accounts, no address and no backups",
    "unsaved": "{}: backups do not contain the files that it keeps",
    "version": "{}: the manifest names ",
    "volume": "{}: (has a volume|writes to a directory that Git does not track), which the old and the new release",
}


@functools.cache
def table() -> dict[str, Row]:
    paths = sorted(PLACE.glob("*.yaml"))
    return {name: row for path in paths for name, row in yaml.safe_load(path.read_text()).items()}


def files(row: Row) -> dict[str, str]:
    """The tree of a row: its manifest, what it builds, and additional files (null removes one)."""
    result = {"compose.yaml": row["compose"]}
    for context, kind in (row.get("built") or {}).items():
        result |= {str(Path(context, name)): text for name, text in BUILT[kind].items()}
    return {name: text for name, text in (result | (row.get("files") or {})).items() if text is not None}


class Collected(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Place:
    """A root of an engine with one app, without Docker: plans do not need it."""

    def __init__(self, root: Root, engine: str, secrets: dict[str, str]) -> None:
        root.create()
        if engine == "docker":
            root.host_settings_path.write_bytes(msgspec.json.encode(HostSettings()))
        self.engine: Engine = registry.of(root)
        self.app: App = app_lifecycle.create(self.engine, "case", port=8123)
        Secrets(self.app).store(secrets)

    def plan(self, commit: str) -> tuple[dict[str, list[str]], int, list[str]]:
        """The services by role, the entry's port, and the notes. Raises as `pushrod plan` does."""
        progress = Collected()
        sealing = Sealing(self.app, self.engine, progress, lambda _: False)
        document, loaded = sealing.load(commit, self.app.checkout(1), planned=True)
        for service in self.engine.images.needed(loaded) if self.engine.traits.name == "embedded" else ():
            self.engine.images.identify(self.app, commit, service, self.app.checkout(1))
        roles: dict[str, list[str]] = {}
        for service in loaded.services:
            roles.setdefault(service.role, []).append(service.name)
        assert document
        return roles, loaded.entry.port, [*progress.notes, *loaded.notes]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", spread(table(), 54))
def test_each_shape_has_the_expected_result(name: str, engine: str, tree: Tree, root: Root) -> None:
    row = table()[name]
    place = Place(root, engine, row.get("secrets") or {})
    commit = tree.commit("a shape", **files(row))
    git.transfer(tree.path, place.app.repository, commit)
    expected = row.get("both") or row[engine]
    if "refused" in expected:
        _check_refused(place, commit, expected)
        return
    if expected.get("needs") == "java" and java.lacking():
        pytest.skip(java.lacking())
    if expected.get("needs") == "node" and not node.suitable(18):
        pytest.skip("no Node.js 18 or newer on this machine (Debian: nodejs, npm)")
    roles, port, notes = place.plan(commit)
    result = {role: sorted(names) for role, names in roles.items()}
    assert result.pop("entry") == [expected["entry"]]
    assert {r: result.get(r, []) for r in ("worker", "store", "job", "edge")} == {
        "worker": expected.get("workers", []),
        "store": expected.get("stores", []),
        "job": expected.get("jobs", []),
        "edge": expected.get("edge", []),
    }
    if "port" in expected:
        assert port == expected["port"]
    _check_notes(notes, expected.get("notes", []))


def has_foreign_store(row: Row) -> bool:
    """Whether the Docker engine takes a service for a store of a kind that the embedded engine does not run."""
    expected = row.get("both") or row["docker"]
    services = yaml.safe_load(row["compose"]).get("services", {}) if expected.get("stores") else {}
    images = [str(services.get(name, {}).get("image", "")) for name in expected.get("stores", [])]
    kinds = [registry_of_stores.by_image(image_refs.parse(image).name) for image in images]
    return any(kind is None or not kind.embeddable for kind in kinds)


def test_most_manifests_without_a_foreign_store_need_no_docker() -> None:
    """Each row is checked above. Rows that are wrong on purpose do not count; a refused one does, unless it has such
    a store."""
    right = {name: row for name, row in table().items() if not row.get("wrong")}
    refused = {n for n, row in right.items() if "refused" in (row.get("both") or row["embedded"])}
    foreign = {name for name in refused if has_foreign_store(right[name])}
    counted = right.keys() - foreign
    share = 1 - len(refused - foreign) / len(counted)
    print(f"{len(counted - refused)} of {len(counted)} ({share:.0%}); with a foreign store {len(foreign)}")
    assert share >= 0.6


def test_what_is_wrong_on_purpose_is_refused_on_both_engines() -> None:
    wrong = [row for row in table().values() if row.get("wrong")]
    assert wrong
    assert all("refused" in (row.get("both") or row[engine]) for row in wrong for engine in ENGINES)


def _check_refused(place: Place, commit: str, expected: Row) -> None:
    with pytest.raises((ManifestError, BuildError)) as refused:
        print(place.plan(commit))
    error = refused.value
    assert re.search(expected["refused"], error.what), error.what
    assert re.search(expected.get("where", ""), error.where), error.where
    assert re.search(expected.get("to do", ""), error.hint), error.hint
    assert error.hint
    assert str(place.app.directory) not in f"{error.what}{error.where}{error.hint}"


def _check_notes(notes: list[str], expected: list[str]) -> None:
    """Assert that notes and expectations match one to one."""
    patterns = [_pattern(text) for text in expected]
    print(*notes, sep="\n")
    assert [n for n in notes if not any(re.match(p, n) for p in patterns)] == []
    assert [p for p in patterns if not any(re.match(p, n) for n in notes)] == []


def _pattern(text: str) -> str:
    kind, _, names = text.partition(": ")
    return NOTES[kind].format(names) if kind in NOTES else text

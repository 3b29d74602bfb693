"""Kubernetes 1.20's API server, built from Debian's source package once and kept outside of the checkout."""

import os
import shutil
from pathlib import Path

from devtools.lab import kubernetes
from tools.lab import engine
from tools.lab.effects import LabError, report, run

_PACKAGES = ("golang-1.19-go", "golang-1.19-src", "make", "rsync", "jq", "etcd-server", "dpkg-dev")
_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_LONGEST = 4 * 3600.0  # seconds; an hour on a machine that others use as well
_GO = Path("/usr/lib/go-1.19/bin")


def provide() -> None:
    """Build it unless it is there: about ten minutes of one processor, 4 GB of disk while it lasts."""
    if not kubernetes.problem():
        report(f"{kubernetes.directory() / kubernetes.PROGRAM} is there")
        return
    if os.geteuid() != 0:
        raise LabError("building it needs packages of Debian 12: run `make lab-kubernetes` as root")
    engine.install(*_PACKAGES)
    place = kubernetes.directory().with_name("kubernetes-source")
    shutil.rmtree(place, ignore_errors=True)
    (place / "lists" / "partial").mkdir(parents=True)
    if not _SOURCES.is_file():
        raise LabError(f"{_SOURCES} does not say where Debian 12's packages are from")
    (place / "debian.sources").write_text(_SOURCES.read_text().replace("Types: deb\n", "Types: deb-src\n"))
    apt = ["apt-get", "-oDir::Etc::SourceList=/dev/null", f"-oDir::Etc::SourceParts={place}"]
    apt += [f"-oDir::State::Lists={place / 'lists'}"]
    report("fetching the source")
    run([*apt, "update"])
    run(["sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(place), *apt, "source", "kubernetes"])
    (tree,) = (path for path in place.glob("kubernetes-*") if path.is_dir())
    report("building; this takes ten minutes or more")
    environment = (
        "-u",
        "GOROOT",
        f"PATH={_GO}:{os.environ['PATH']}",
        "GOFLAGS=-mod=vendor",
        "GO111MODULE=on",
    )
    run(["env", *environment, "make", "-C", str(tree), f"WHAT=cmd/{kubernetes.PROGRAM}"], _LONGEST)
    kubernetes.directory().mkdir(parents=True, exist_ok=True)
    built = kubernetes.directory() / kubernetes.PROGRAM
    shutil.copy2(tree / "_output" / "bin" / kubernetes.PROGRAM, built.with_suffix(".new"))
    built.with_suffix(".new").rename(built)
    shutil.rmtree(place)

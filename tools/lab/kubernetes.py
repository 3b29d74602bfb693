"""Kubernetes 1.20's API server, built from Debian's source package once and kept outside of the checkout."""

import os
import shutil
from pathlib import Path

from devtools.lab import kubernetes
from tools.lab import engine
from tools.lab.effects import LabError, report, run

_PACKAGES = ("golang-1.19-go", "golang-1.19-src", "make", "rsync", "jq", "etcd-server", "dpkg-dev")
_SOURCE = "deb-src http://deb.debian.org/debian bookworm main\n"
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
    (place / "sources.list").write_text(_SOURCE)
    apt = ["apt-get", f"-oDir::Etc::SourceList={place / 'sources.list'}", "-oDir::Etc::SourceParts=/dev/null"]
    apt += [f"-oDir::State::Lists={place / 'lists'}"]
    report("fetching the source")
    run([*apt, "update"])
    run(["sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(place), *apt, "source", "kubernetes"])
    (tree,) = (path for path in place.glob("kubernetes-*") if path.is_dir())
    report("building; this takes ten minutes or more")
    run(["env", "-u", "GOROOT", f"PATH={_GO}:{os.environ['PATH']}", "make", "-C", str(tree),
         f"WHAT=cmd/{kubernetes.PROGRAM}"])  # fmt: skip
    kubernetes.directory().mkdir(parents=True, exist_ok=True)
    built = kubernetes.directory() / kubernetes.PROGRAM
    shutil.copy2(tree / "_output" / "bin" / kubernetes.PROGRAM, built.with_suffix(".new"))
    built.with_suffix(".new").rename(built)
    shutil.rmtree(place)

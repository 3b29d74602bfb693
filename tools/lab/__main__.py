"""`python -m tools.lab up`, `java` (images with a JDK and Maven), `kubernetes` (its API
server), `clean`, or `box NAME [bare|old]`: a box to
experiment in."""

import sys

from devtools.lab import images
from pushrod.core.errors import PushrodError
from tools.lab import boxes, engine, kubernetes, standins
from tools.lab.effects import LabError, docker

MINE = "pushrod-lab-"  # prefix of the names of the tests' Compose projects, of boxes and of their volumes


def main() -> None:
    """Run a command; exit 1 with one line if it fails."""
    try:
        match sys.argv[1:]:
            case ["up"]:
                up()
            case ["java"]:
                java()
            case ["kubernetes"]:
                kubernetes.provide()
            case ["clean"]:
                clean()
            case ["box", name]:
                boxes.develop(name, images.BOX)
            case ["box", name, "bare"]:
                boxes.develop(name, images.BARE)
            case ["box", name, "old"]:
                boxes.develop(name, images.OLD)
            case _:
                raise LabError(str(__doc__))
    except (LabError, PushrodError) as e:
        print(f"lab: {e}", file=sys.stderr)
        sys.exit(1)


def up() -> None:
    """Provide an engine, every image, and the initial state of boxes."""
    if not images.engine_answers():
        engine.start()
    for image in (*images.inner(), images.MARIADB, images.JRE):
        standins.provide(image)
    boxes.provide()
    if problem := images.old_problem() or images.mariadb_problem() or images.jre_problem():
        raise LabError(problem)


def java() -> None:
    """Provide the images that a Java backend is built from."""
    for image in images.JAVA:
        standins.provide(image)


def clean() -> None:
    """Remove everything of the lab; the engine keeps running, with its build cache."""
    if not images.engine_answers():
        raise LabError("no Docker engine answers, so there is nothing to remove")
    for kind, name, remove in (
        (("ps", "--all"), "{{.Names}}", ("rm", "--force", "--volumes")),
        (("network", "ls"), "{{.Name}}", ("network", "rm")),
        (("volume", "ls"), "{{.Name}}", ("volume", "rm")),
    ):
        names = [n for n in docker(*kind, "--format", name).split() if n.startswith(MINE)]
        if names:
            docker(*remove, *names)
    label = f"label={images.LABEL}=1"
    tags = docker("images", "--filter", label, "--format", "{{.Repository}}:{{.Tag}}").split()
    if named := [tag for tag in tags if "<none>" not in tag]:
        docker("rmi", *named)
    docker("image", "prune", "--force", "--filter", label)


if __name__ == "__main__":
    main()

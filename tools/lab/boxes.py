"""The initial state of boxes: their network, a volume of images that a dockerd has loaded once, a prepared host."""

import tempfile
import time
from pathlib import Path

from devtools.lab import images
from devtools.lab.box import Box, copy_volume
from devtools.lab.ground import Ground, source_digest
from pushrod.system import processes
from tools.lab import standins
from tools.lab.effects import LONGEST, LabError, docker, report

SOURCE = Path(__file__).parents[2]


def provide() -> None:
    """Ensure that the box images, the network and the volume of images exist."""
    standins.build_base()  # its `cp` fills each box's volume, even if every image can be pulled
    for image in (images.BOX, images.BARE, images.OLD):
        standins.provide(image)
    if images.NETWORK not in docker("network", "ls", "--format", "{{.Name}}").split():
        label = f"--label={images.LABEL}=1"
        docker("network", "create", label, f"--subnet={images.SUBNET}", images.NETWORK)
    if not images.has_volume(images.seed()):
        _load()
    if not images.has_volume(volume := images.host_volume(source_digest())):
        _prepare_host(volume)


def develop(name: str, image: str) -> None:
    """A new box to experiment in, with this checkout read-only at /src; replaces one with the same name."""
    Box(name).remove()
    box = Box(name).create(image, [f"{SOURCE}:/src:ro"])
    report(f"{name} is at {box.address}: docker exec -it {name} bash")


def _load() -> None:
    """Have a box load the images, and keep a copy of its dockerd's data."""
    started = time.monotonic()
    seed = images.seed()
    _remove_volumes("images")
    box = Box()
    try:
        box.create(seed="")
        with tempfile.TemporaryFile() as archive:
            save = processes.run(["docker", "save", *images.inner()], stdout=archive, timeout=LONGEST)
            if save.status:
                raise LabError(f"the images cannot be saved: {save.stderr.strip()}")
            archive.seek(0)
            box.exec("docker", "load", stdin=archive)
        docker("stop", box.name)
        _keep(box.volume, seed, "images")
    finally:
        box.remove()
    report(f"the images for boxes: loaded in {time.monotonic() - started:.0f} s")


def _prepare_host(volume: str) -> None:
    """Make a box a host, and keep its disk as an image and its dockerd's data as a volume."""
    started = time.monotonic()
    _remove_volumes("host")
    box = Box()
    try:
        with tempfile.TemporaryDirectory(prefix="pushrod-lab-") as scratch:
            box.create()
            Ground(box, Path(scratch)).host_init()
        docker("stop", "--time=90", box.name)
        docker("commit", f"--change=LABEL {images.LABEL}=1", box.name, images.HOST)
        _keep(box.volume, volume, "host")
    finally:
        box.remove()
    report(f"a host for tests: prepared in {time.monotonic() - started:.0f} s")


def _remove_volumes(kind: str) -> None:
    for old in docker("volume", "ls", "--quiet", "--filter", f"label={images.LABEL}={kind}").split():
        docker("volume", "rm", old)


def _keep(volume: str, seed: str, kind: str) -> None:
    """Copy a volume under the name that marks it as complete, or leave nothing there."""
    docker("volume", "create", f"--label={images.LABEL}={kind}", seed)
    try:
        copy_volume(volume, seed)
    except BaseException:
        docker("volume", "rm", seed)
        raise

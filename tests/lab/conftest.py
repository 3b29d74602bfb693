"""The template's stack, and servers in boxes, on a real Docker engine; without one, tests are skipped with a
message on how to get one."""

import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.apps import edge_port
from devtools.lab import images
from devtools.lab.box import Box
from devtools.lab.ground import Ground, a_host
from devtools.lab.stack import Stack
from pushrod.system import processes
from tests.conftest import needs_lab

SOURCE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A new repository whose name differs from every other Compose project; everything it adds to the engine is
    removed.

    It has its own free port, so that several of these can run at once.
    """
    needs_lab(images.problem())
    directory = tmp_path_factory.mktemp(f"pushrod-lab-{uuid.uuid4().hex[:8]}", numbered=False)
    stack = Stack(directory, edge_port())
    stack.create()
    try:
        yield stack
    finally:
        stack.compose("down", "--volumes", "--rmi", "local")
        left = stack.left()
        shutil.rmtree(directory)
    assert not left, left


@pytest.fixture
def shop(made: Stack) -> Iterator[Stack]:
    """The stack, up and serving, whatever the previous test did. A failure shows its output."""
    try:
        made.up()
        yield made
    finally:
        print(made.logs())


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A host with nothing on it, of a file's own."""
    needs_lab(images.box_problem())
    with a_host(tmp_path_factory.mktemp("desk")) as made:
        yield made


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """pushrod as a wheel built from this checkout, as users install it."""
    place = tmp_path_factory.mktemp("wheel")
    built = processes.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], cwd=SOURCE
    )
    assert built.status == 0, built.stderr
    (result,) = place.glob("*.whl")
    return result


@pytest.fixture(scope="session")
def made_box(wheel: Path) -> Iterator[Box]:
    """A server with Docker, Git and pushrod, shared by all tests that can share it."""
    needs_lab(images.box_problem())
    box = Box()
    try:
        box.create().install(wheel)
        yield box
    finally:
        box.remove()


@pytest.fixture
def box(made_box: Box) -> Iterator[Box]:
    """The shared server, started, whatever the previous test did. A failure shows the end of its journal."""
    made_box.power_on()
    try:
        yield made_box
    finally:
        print(made_box.journal())


@pytest.fixture
def new_box() -> Iterator[Callable[[str], Box]]:
    """Makes servers for one test, from images.BOX or images.BARE, without pushrod."""
    needs_lab(images.box_problem())
    boxes: list[Box] = []

    def make(image: str = images.BOX) -> Box:
        boxes.append(Box())
        return boxes[-1].create(image)

    try:
        yield make
    finally:
        for box in boxes:
            print(box.journal())
            box.remove()

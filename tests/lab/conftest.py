"""The template's stack on a real Docker engine; where there is none, a skip that says how to get one."""

import shutil
import uuid
from collections.abc import Iterator

import pytest

from tests.integration.apps import edge_port
from tests.lab import images
from tests.lab.stack import Stack


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A new repository, named apart from every other Compose project; all it brought to the engine is removed.

    Its port is free and its own, so that several of these can run at once.
    """
    if problem := images.problem():
        pytest.skip(f"{problem}; this prepares it, as root: make lab")
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
    """The stack, up and serving, whatever the test before did to it. Beside a failure stands what it has printed."""
    try:
        made.up()
        yield made
    finally:
        print(made.logs())

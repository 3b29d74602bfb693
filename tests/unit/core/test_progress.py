"""The protocol that the pipeline calls, and the command line's implementation."""

import inspect

import pytest

from pushrod.cli.output import Steps
from pushrod.core.progress import Progress


@pytest.mark.parametrize("name", [n for n in vars(Progress) if not n.startswith("_")])
def test_the_command_line_implements_every_method_of_progress(name: str) -> None:
    expected, given = getattr(Progress, name), getattr(Steps, name)
    assert inspect.signature(given).parameters.keys() == inspect.signature(expected).parameters.keys()

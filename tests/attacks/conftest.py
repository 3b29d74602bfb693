"""One server for all attacks; the victim must be the same before and after each."""

from collections.abc import Iterator

import pytest

from devtools.lab import images
from devtools.lab.box import Box
from tests.attacks.town import Attacker, Party, Town
from tests.conftest import needs_lab


@pytest.fixture(scope="session")
def made_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A server with the apps `victim` and `attacker`, both live."""
    needs_lab(images.box_problem())
    box = Box()
    result = Town(box, tmp_path_factory.mktemp("town"))
    try:
        result.ground.create()
        yield result.settle()
        print(box.journal())
    finally:
        box.remove()


@pytest.fixture
def town(made_town: Town) -> Iterator[Town]:
    """The server; the victim serves as before, from the same containers, whatever the attacker has tried."""
    victim = made_town.victim
    made_town.attacker.reset()
    before = victim.footprint()
    assert victim.get("/healthz").status == 200
    yield made_town
    assert victim.get("/healthz").status == 200
    assert victim.footprint() == before


@pytest.fixture
def attacker(town: Town) -> Attacker:
    """The holder of a key for the app `attacker` only."""
    return town.attacker


@pytest.fixture
def victim(town: Town) -> Party:
    """The other app."""
    return town.victim

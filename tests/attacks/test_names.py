"""An app's names are its own even while it is down, and no object of another app can have a name of its objects."""

from collections.abc import Iterator

import pytest

from devtools.lab.ground import DOCKERFILE
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town

pytestmark = pytest.mark.lab

NAME = "quiet.victim.localhost"


def named(*domains: str) -> dict[str, str]:
    """The attacker's app with these names."""
    return {"compose.yaml": MANIFEST.replace("[attacker.localhost]", f"[{', '.join(map(repr, domains))}]")}


@pytest.fixture(scope="module")
def asleep(made_town: Town) -> Iterator[str]:
    """An app with a name that is down: nothing of it runs, and the edge does not know it."""
    tree = {"app.py": PROGRAM, "Dockerfile": DOCKERFILE, **named(NAME)}
    quiet = made_town.ground.app("quiet", tree)
    done = quiet.push()
    assert done.ok, done.err
    made_town.ground.pushrod("down", "--app", "quiet")
    yield NAME
    made_town.ground.pushrod("apps", "destroy", "quiet", "--yes")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (NAME, f"the domain {NAME} is quiet's"),
        (f"api.{NAME}", f"the domain api.{NAME} is below {NAME}, which is quiet's"),
        (f"*.{NAME}", f"the domain *.{NAME} is below {NAME}, which is quiet's"),
        ("*.localhost", "the domain *.localhost is a wildcard above "),
        (NAME.upper(), "write it in lower case"),
        (f"{NAME}.", "expected a host name"),
        (
            "quiet.ｖictim.localhost",
            f"the domain {NAME} is quiet's",
        ),  # a full-width letter equals the letter
    ],
)
def test_the_name_of_an_app_that_is_down_cannot_be_taken(
    attacker: Attacker, asleep: str, name: str, message: str
) -> None:
    assert message in attacker.refused(named("attacker.localhost", name))


def test_the_owner_can_allow_a_subdomain(town: Town, attacker: Attacker, asleep: str) -> None:
    town.ground.pushrod("apps", "allow", "attacker", f"domain:api.{asleep}")
    done = attacker.pushes(named("attacker.localhost", f"api.{asleep}"))
    assert done.ok, done.err
    town.ground.pushrod("apps", "allow", "attacker", "--remove", f"domain:api.{asleep}")


def test_an_app_cannot_have_the_name_of_another_apps_object(town: Town, attacker: Attacker) -> None:
    for name in ("attacker-r7", "victim-r1-web-1"):
        made = town.ground.pushrod("apps", "create", name, check=False)
        assert "cannot be an app's name" in made.stderr, name
    town.ground.pushrod("apps", "create", "attacker-two")
    try:
        store = "  two-db:\n    image: valkey/valkey:9\n    volumes: [data:/data]\nvolumes: {data: {}}\n"
        refused = attacker.refused({"compose.yaml": MANIFEST + store})
        assert "the name attacker-two-db is already taken" in refused
    finally:
        town.ground.pushrod("apps", "destroy", "attacker-two", "--yes")

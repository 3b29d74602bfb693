"""A rotation whose deployment fails; with a real PostgreSQL it is in tests/integration/test_rotation.py."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from pushrod.cli.output import Steps
from pushrod.core.errors import StoreError
from pushrod.core.values import Service
from pushrod.releases.rotation import Rotation
from pushrod.state.apps import App, Root
from pushrod.state.secrets import Secrets
from pushrod.stores.kinds import Server
from tests.unit.engines.memory import Memory, NoStores
from tests.unit.samples import make_live


class Rotating(Server):
    """A server whose passwords can be rotated."""

    rotates = True


class Stores(NoStores):
    """One of these."""

    def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
        """It."""
        return {"postgres": Rotating()}


class Pipeline:
    """No deployment succeeds."""

    @contextlib.contextmanager
    def locked(self, _: str) -> Iterator[None]:
        """Not held."""
        yield

    def renew(self) -> None:
        """As `Pipeline.renew`."""
        raise StoreError("it is never ready")


def test_programs_run_by_hand_have_the_migrators_new_password_also_if_the_deployment_fails(
    app: App, root: Root
) -> None:
    make_live(app, 1)
    app.save(msgspec.structs.replace(app.settings, down=False))
    secrets = Secrets(app)
    own, migrator = secrets.password("postgres/app"), secrets.password("postgres/migrator")
    variables = {
        "web": {"URL": f"//shop_app:{own}@db"},
        "web:release": {"URL": f"//shop_migrator:{migrator}@db"},
    }
    secrets.seal(1, variables)
    engine, pipeline = dataclasses.replace(Memory(root).engine, stores=Stores()), Pipeline()
    given: Any = pipeline
    with pytest.raises(StoreError, match="never ready"):
        Rotation(app, engine, given, Steps()).run()
    new = secrets.password("postgres/migrator")
    assert new != migrator
    sealed = secrets.sealed(1)
    assert sealed["web"] == variables["web"]  # still valid
    assert sealed["web:release"] == {"URL": f"//shop_migrator:{new}@db"}

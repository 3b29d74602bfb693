"""A copy on its way holds nothing that the copies of other apps need."""

import msgspec
import pytest

from pushrod.backups import vaulting
from pushrod.core.errors import BusyError
from pushrod.state.apps import App


def test_while_a_copy_is_proved_others_use_the_vault(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its proof runs in the app's own stores, whose images decide how long that takes."""
    monkeypatch.setattr(vaulting, "_PATIENCE", 0.1)
    other = App(app.root, "zoo")
    other.save(msgspec.structs.replace(app.settings, name="zoo"))
    with vaulting.outgoing(app) as work:
        with vaulting.alone(app.root, 0), vaulting.outgoing(other) as others:
            assert work.is_dir() and others.is_dir()
        with pytest.raises(BusyError), vaulting.outgoing(app):
            pass
        assert work.is_dir()
    assert not work.exists()

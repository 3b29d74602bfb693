"""State files that are damaged."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.core.errors import StateError
from pushrod.state.apps import App, Settings
from pushrod.state.records import read_json


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"name":1}', b'{"name":"shop","port":1}', b'{"name":"\xff"}', b"\0" * 100],
    ids=["empty", "cut", "list", "type", "missing", "bytes", "zeros"],
)
def test_a_damaged_state_file_is_kept_and_named(raw: bytes, app: App) -> None:
    app.settings_path.write_bytes(raw)
    with pytest.raises(StateError) as e:
        _ = app.settings
    copy = app.settings_path.with_name("app.json.corrupt")
    assert e.value.where == str(app.settings_path)
    assert copy.name in e.value.hint
    assert copy.read_bytes() == app.settings_path.read_bytes() == raw
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.slow
@given(raw=st.binary(max_size=60))
def test_no_file_content_causes_a_traceback(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "settings.json"
    path.write_bytes(raw)
    with pytest.raises(StateError):
        read_json(path, Settings, restore="")

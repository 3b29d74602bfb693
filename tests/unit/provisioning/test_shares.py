"""The limits of one key: the name of its unit, its slots, and which keys get a unit."""

import contextlib
import os
import re
import sys
from pathlib import Path

import pytest

from pushrod.adapters import systemd
from pushrod.core.errors import BusyError, HostError
from pushrod.provisioning import shares
from pushrod.state.apps import Root
from pushrod.system import processes, waits


@pytest.mark.parametrize("key", ["alice", "alice@laptop", "ci.deploy_2-x", "a+b@c", "A" * 64])
def test_a_unit_name_is_valid_for_systemd_and_distinct(key: str) -> None:
    """Letters, digits and `:-_.\\` are valid in a unit name (systemd.unit(5)), `@` separates; names must stay
    distinct."""
    assert re.fullmatch(r"pushrod-gate@[A-Za-z0-9:_.\\@-]+\.service", shares.unit(key))
    assert shares.unit("a+b") != shares.unit("a-b") != shares.unit("a.b")


def test_the_number_of_slots_is_limited_per_key(root: Root) -> None:
    root.create()
    with contextlib.ExitStack() as taken:
        first = contextlib.ExitStack()
        first.enter_context(shares.turn(root, "alice"))
        for _ in range(shares.PARALLEL - 1):
            taken.enter_context(shares.turn(root, "alice"))
        with pytest.raises(BusyError, match="the key alice has 8 running calls") as busy:
            taken.enter_context(shares.turn(root, "alice"))
        assert busy.value.exit_code == 13
        taken.enter_context(shares.turn(root, "bob"))
        first.close()
        assert _free(root)


def test_a_slot_is_held_while_an_inherited_process_lives(root: Root) -> None:
    """Git goes on if the gate is killed: its slot is still taken then."""
    root.create()
    stays = [sys.executable, "-c", "import os; os.fork() or os.read(0, 1)"]
    there, here = os.pipe()
    saved = os.dup(0)
    with contextlib.ExitStack() as taken:
        for _ in range(shares.PARALLEL - 1):
            taken.enter_context(shares.turn(root, "alice"))
        with shares.turn(root, "alice") as turn:
            os.dup2(there, 0)
            try:
                assert processes.attach(stays, cwd=Path("/"), env={}, keep=[turn]) == 0
            finally:
                os.dup2(saved, 0)
        assert not _free(root)
        os.close(here)
        assert waits.wait_until(lambda: _free(root), 10)
    os.close(there)
    os.close(saved)


def _free(root: Root) -> bool:
    with contextlib.suppress(BusyError), shares.turn(root, "alice"):
        return True
    return False


def test_a_missing_unit_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "attach", lambda _unit, _process: "Call failed: Unit is not loaded.")
    monkeypatch.setattr(shares, "_PATIENCE", 0.0)
    monkeypatch.setattr(shares, "_RLIMITS", ())
    with pytest.raises(HostError, match=r"not active: Call failed: Unit is not loaded") as lacking:
        shares.enter("alice")
    assert "host init" in lacking.value.hint


def test_existing_keys_get_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "WANTS", tmp_path)
    (work,) = shares.plan(["alice", "bob+x"])
    assert (work.change.action, work.change.detail) == ("new", "alice, bob+x")
    work.carry_out()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pushrod-gate@alice.service",
        r"pushrod-gate@bob\x2bx.service",
    ]
    assert shares.plan(["alice", "bob+x"]) == []

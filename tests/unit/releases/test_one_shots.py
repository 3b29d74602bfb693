"""What runs once for each release, how it is reported, and how its sessions in databases end."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pushrod.cli.output import Steps
from pushrod.core.errors import ReleaseCommandError, Stopped, StoreError
from pushrod.core.values import Service
from pushrod.engines.protocols import OnLine
from pushrod.releases import one_shots as module
from pushrod.releases.context import Context
from pushrod.releases.one_shots import OneShots, one_shots
from pushrod.state.apps import App, Root
from pushrod.state.secrets import Secrets
from pushrod.stores.kinds import Server
from pushrod.system import processes
from tests.unit.engines.memory import Memory, NoStores
from tests.unit.samples import release, service


def test_jobs_run_in_the_manifests_order_before_the_release_commands() -> None:
    migrate, load = (service(n, role="job", replicas=0, command=("x",)) for n in ("migrate", "load"))
    backend = service("backend", release=("alembic", "upgrade", "head"))
    programs = one_shots(release(services=(backend, migrate, load, service("worker", role="worker"))))
    assert [(p.kind, p.argv, p.shown, p.described) for p in programs] == [
        ("job", (), "migrate", "migrate"),
        ("job", (), "load", "load"),
        (
            "release command",
            ("alembic", "upgrade", "head"),
            "alembic upgrade head",
            "backend: alembic upgrade head",
        ),
    ]


class Database(Server):
    """It notes when sessions end, and can fail to be read afterwards."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.broken = False

    def schema(self, *, mark: str = "", ending: str = "") -> str:
        """As `Server.schema`."""
        if ending and self.broken:
            raise StoreError("it is gone")
        self.ended += ["by the query"] * bool(ending)
        return "digest"

    def end_migrations(self, since: str) -> None:
        """As `Server.end_migrations`."""
        self.ended.append("by itself")


def raising(error: BaseException) -> Callable[[OnLine], int]:
    def run(_: OnLine) -> int:
        raise error

    return run


def locked_out(on_line: OnLine) -> int:
    on_line("ERROR: canceling statement due to lock timeout")
    return 1


@pytest.mark.parametrize(
    ("does", "broken", "error", "ended"),
    [
        (lambda _: 0, False, None, ["by the query"]),
        (lambda _: 0, True, StoreError, ["by itself"]),
        (lambda _: 3, False, ReleaseCommandError, ["by itself"]),
        (raising(processes.TimedOutError("late")), False, ReleaseCommandError, ["by itself"]),
        (raising(Stopped("stopped")), False, Stopped, ["by itself"]),
        (locked_out, False, ReleaseCommandError, ["by itself"] * module.TRIES),
    ],
    ids=["success", "no answer afterwards", "status", "time", "interruption", "lock"],
)
def test_its_sessions_end_once_in_each_way_in_which_it_ends(
    does: Callable[[OnLine], int],
    broken: bool,
    error: type[BaseException] | None,
    ended: list[str],
    app: App,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    database = Database()
    database.broken = broken

    class Stores(NoStores):
        def servers(self, app: App, stores: Sequence[Service]) -> Mapping[str, Server]:
            return {"postgres": database}

    programs: Any = SimpleNamespace(run=lambda *given, timeout: does(given[5]))  # which prints
    engine = dataclasses.replace(Memory(root).engine, stores=Stores(), programs=programs)
    sealed = release()
    Secrets(app).seal(1, {"backend:release": {}})
    with pytest.raises(error) if error else contextlib.nullcontext():
        OneShots(Context(app, engine, Steps(), lambda _: True)).run(sealed, one_shots(sealed))
    assert database.ended == ended

"""The host's limits: defaults from the machine's size, the owner's changes, and how both are written."""

import pytest

from pushrod.core import limits
from pushrod.core.errors import UnknownNameError
from pushrod.core.limits import GIB, LIMITS, MIB, Limits, Machine


def machine(gib: float, cpus: int = 2, tasks: int = 100_000) -> Machine:
    return Machine(int(gib * GIB), cpus, tasks)


def test_every_limit_is_described() -> None:
    assert set(LIMITS) == set(Limits.__struct_fields__)


@pytest.mark.parametrize(
    ("gib", "memory", "app", "everything"),
    [(1, 1024, 1024, 768), (2, 1024, 1024, 1792), (4, 2048, 2048, 3584), (24, 12288, 13184, 22016)],
)
def test_defaults_leave_room_for_the_host(gib: float, memory: int, app: int, everything: int) -> None:
    result = limits.defaults(machine(gib))
    assert (result.memory, result.app_memory, result.all_memory) == (
        memory * MIB,
        app * MIB,
        everything * MIB,
    )
    assert result.store_memory == result.app_memory
    assert limits.defaults(machine(gib - 0.01)).all_memory in (everything * MIB, (everything - 128) * MIB)


def test_a_small_task_limit_of_the_kernel_reduces_the_limits() -> None:
    assert limits.defaults(machine(1, tasks=7900)).app_tasks == 2048
    assert limits.defaults(machine(1, tasks=16000)).app_tasks == 3840
    assert limits.defaults(machine(64, tasks=500_000)).app_tasks == 8192


def test_the_owners_limits_precede_defaults_and_the_apps_precede_both() -> None:
    result = limits.resolve(
        machine(4), {"memory": 1.0 * GIB, "services": 9.0}, {"services": 3.0, "gone": 1.0}
    )
    assert (result.memory, result.services, result.volumes) == (GIB, 3, 50)
    assert isinstance(result.memory, int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("memory=2G", ("memory", 2 * GIB)),
        ("app-memory=512m", ("app_memory", 512 * MIB)),
        ("app-tasks=500", ("app_tasks", 500)),
        ("health-interval=0.5", ("health_interval", 0.5)),
        ("memory=1073741824", ("memory", GIB)),
    ],
)
def test_a_change_is_parsed(text: str, expected: tuple[str, float]) -> None:
    assert limits.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["memory", "memory=", "memory=1", "memory=-1", "memory=2X", "memory=0x10", "pids=1G", "pids=1.5", "gone=1", "=1",
     "health-interval=1s", "memory=" + "9" * 40, "cpus=0"],
)  # fmt: skip
def test_an_invalid_change_is_refused(text: str) -> None:
    with pytest.raises(UnknownNameError) as error:
        limits.parse(text)
    assert error.value.hint


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("memory", 2 * GIB, "memory=2048M"),
        ("manifest_size", 5000, "manifest-size=5000"),
        ("app_tasks", 500, "app-tasks=500"),
        ("health_interval", 0.25, "health-interval=0.250"),
    ],
)
def test_an_assignment_is_parsed_as_exactly_its_value(name: str, value: float, expected: str) -> None:
    assert limits.assignment(name, value) == expected
    assert limits.parse(expected) == (name, value)


def test_values_are_written_with_their_units() -> None:
    assert [limits.written("memory", n) for n in (2 * GIB, 2176 * MIB, 5 << 10, 7)] == [
        "2 GiB", "2176 MiB", "5 KiB", "7 bytes",
    ]  # fmt: skip
    assert (limits.written("pids", 4096), limits.written("health_interval", 1.0)) == ("4096", "1 s")

import re
from pathlib import Path

import pytest

from pushrod.adapters.postgres import settings
from pushrod.core.errors import StoreError

MB = 1 << 20


@pytest.mark.parametrize(
    ("memory", "connections", "expected"),
    [
        (128 * MB, 100, ("32MB", "96MB", "4MB", "16MB", "8MB")),
        (512 * MB, 100, ("128MB", "384MB", "5MB", "32MB", "16MB")),
        (4096 * MB, 200, ("1024MB", "3072MB", "20MB", "256MB", "128MB")),
        (65536 * MB, 100, ("8192MB", "49152MB", "64MB", "1024MB", "512MB")),
    ],
)
def test_settings_grow_with_the_memory(memory: int, connections: int, expected: tuple[str, ...]) -> None:
    result = settings.sized(memory, connections)
    names = (
        "shared_buffers",
        "effective_cache_size",
        "work_mem",
        "maintenance_work_mem",
        "min_dynamic_shared_memory",
    )
    assert (result.pop("max_connections"), tuple(result[n] for n in names)) == (str(connections), expected)
    assert set(result) == set(names)


@pytest.mark.parametrize(
    ("instances", "memory", "expected"),
    [
        (0, 256 * MB, 100),
        (2, 1024 * MB, 100),
        (10, 4096 * MB, 320),
        (10, 1024 * MB, 256),
        (200, 256 * MB, 100),
    ],
)
def test_connections_suffice_for_two_releases_as_far_as_memory_allows(
    instances: int, memory: int, expected: int
) -> None:
    assert settings.connections(instances, memory) == expected


def test_the_manifests_settings_prevail() -> None:
    result = settings.complete(512 * MB, 1, {"work_mem": "32MB", "log_min_duration_statement": "200ms"})
    assert (result["work_mem"], result["log_min_duration_statement"], result["log_lock_waits"]) == (
        "32MB",
        "200ms",
        "on",
    )


@pytest.mark.parametrize(
    ("name", "value"), [("shared_buffers", "1GB"), ("work_mem", "600000"), ("wal_buffers", "99999")]
)
def test_more_memory_than_the_store_may_use_is_refused(name: str, value: str) -> None:
    with pytest.raises(StoreError, match=f"{name} = {value} is more than the store may use: 512 MB"):
        settings.complete(512 * MB, 1, {name: value})
    assert settings.complete(512 * MB, 1, {"effective_cache_size": "1GB"})["effective_cache_size"] == "1GB"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("archive_command", "id"), ("shared_preload_libraries", "x"), ("fsync", "off"), ("listen_addresses", "*"),
        ("work_mem", "1MB; drop"), ("work_mem", "'"), ("work_mem", ""), ("max_connections", "5"),
        ("max_connections", "on"), ("data_directory", "/x"), ("log_statement", "a\nb"),
    ],
)  # fmt: skip
def test_what_would_harm_the_machine_or_the_data_is_refused(name: str, value: str) -> None:
    assert settings.problem(name, value)


def test_settings_of_a_command() -> None:
    words = [
        "postgres",
        "-c",
        "work_mem=8MB",
        "-cjit=on",
        "--max-connections=150",
        "-c",
        "fsync=off",
        "-p",
        "5433",
    ]
    assert settings.of_command(words) == {"work_mem": "8MB", "jit": "on", "max_connections": "150"}


def test_an_older_version_gets_only_what_it_has() -> None:
    result = settings.complete(512 * MB, 1, {})
    assert set(result) - set(settings.known(result, 12)) == {
        "log_parameter_max_length", "log_parameter_max_length_on_error", "min_dynamic_shared_memory",
    }  # fmt: skip
    assert settings.known(result, 14) == result


def test_the_page_lists_what_can_be_set() -> None:
    page = (Path(__file__).parents[4] / "docs" / "manifest.md").read_text()
    listed = re.search(r"These can be set: (.*?)\.\n", page, re.DOTALL)
    assert listed and set(re.findall(r"`(\w+)`", listed[1])) == settings.OVERRIDABLE

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import EngineName


def read(image: str, settings: object, engine: EngineName = "docker") -> dict[str, str]:
    services: dict[str, Any] = {"web": {"build": ".", "ports": ["8000:8000"]}}
    services["db"] = {"image": image, "x-pushrod": {"settings": settings}}
    return manifest.read({"services": services}, engine=engine).service("db").settings


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_settings_of_a_postgresql(engine: EngineName) -> None:
    given = {"work_mem": "16MB", "jit": False, "random_page_cost": 1.1, "max_connections": 200}
    assert read("postgres:18", given, engine) == {
        "work_mem": "16MB", "jit": "off", "random_page_cost": "1.1", "max_connections": "200",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "settings", "where", "what"),
    [
        (
            "postgres:18",
            {"archive_command": "id"},
            "services.db.x-pushrod.settings",
            "`archive_command` is not a setting",
        ),
        (
            "postgres:18",
            {"work_mem": "much;"},
            "services.db.x-pushrod.settings.work_mem",
            "expected a number",
        ),
        ("postgres:18", ["work_mem"], "services.db.x-pushrod.settings", "expected"),
        ("redis:7", {"work_mem": "8MB"}, "services.db.x-pushrod.settings", "db is not a PostgreSQL store"),
    ],
)
def test_others_are_refused(image: str, settings: object, where: str, what: str) -> None:
    with pytest.raises(ManifestError, match=what) as caught:
        read(image, settings)
    assert caught.value.where == where


@pytest.mark.parametrize("engine", ["docker", "embedded"])
def test_the_profile_of_a_redis(engine: EngineName) -> None:
    services: dict[str, Any] = {"web": {"build": ".", "ports": ["8000:8000"]}}
    services["pages"] = {"image": "valkey/valkey:9", "x-pushrod": {"profile": "cache"}}
    assert manifest.read({"services": services}, engine=engine).service("pages").profile == "cache"
    services["pages"]["x-pushrod"]["profile"] = "fast"
    with pytest.raises(ManifestError, match="expected cache or durable"):
        manifest.read({"services": services}, engine=engine)
    services["pages"] = {"image": "postgres:18", "x-pushrod": {"profile": "cache"}}
    with pytest.raises(ManifestError, match="pages is not a Redis or Valkey store"):
        manifest.read({"services": services}, engine=engine)

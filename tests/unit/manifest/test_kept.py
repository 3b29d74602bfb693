"""Which pulled services of no known kind stay from push to push, as Compose would leave them alone."""

from typing import Any

import pytest

from pushrod import manifest

WEB = {"build": ".", "ports": ["8000:8000"], "depends_on": ["it"]}


def role(it: dict[str, Any], engine: str = "docker", **others: dict[str, Any]) -> str:
    web = others.pop("web", WEB)
    found = manifest.read({"services": {"web": web, "it": it, **others}}, engine=engine)  # type: ignore[arg-type]
    return found.service("it").role


@pytest.mark.parametrize(
    "it",
    [
        {"image": "redislabs/redismod"},
        {"image": "redislabs/redismod", "ports": ["6379:6379"]},
        {"image": "mcr.microsoft.com/azure-sql-edge"},
        {"image": "ghcr.io/somebody/their-database:7", "environment": {"PASSWORD": "x"}},
        {"image": "gvenzl/oracle-xe", "restart": "always"},
        {"image": "redislabs/redismod", "restart": "no"},  # Compose's default
    ],
)
def test_what_others_depend_on_is_kept(it: dict[str, Any]) -> None:
    assert role(it) == "store"
    found = manifest.read({"services": {"web": WEB, "it": it}}, engine="docker")
    assert any("stays as it is from push to push" in note for note in found.notes)


@pytest.mark.parametrize(
    "web",
    [
        {"build": ".", "ports": ["8000:8000"], "environment": {"DB": "firebird://u:p@it:3050/x"}},
        {"build": ".", "ports": ["8000:8000"], "environment": {"DB_HOST": "it"}},
        {"build": ".", "ports": ["8000:8000"], "command": "serve --database it:1234"},
        {"build": ".", "ports": ["8000:8000"], "links": ["it:database"]},
    ],
)
def test_what_others_are_told_of_is_kept(web: dict[str, Any]) -> None:
    assert role({"image": "somebody/database"}, web=web) == "store"


def test_what_listens_where_databases_do_is_kept() -> None:
    web = {"build": ".", "ports": ["8000:8000"]}
    assert role({"image": "somebody/thing", "expose": ["1433"]}, web=web) == "store"
    assert role({"image": "somebody/thing", "expose": ["1999"]}, web=web) == "store"
    assert role({"image": "somebody/thing", "expose": ["1999"], "command": "work"}, web=web) == "worker"
    assert role({"image": "somebody/thing"}, web=web) == "worker"
    assert role({"image": "adminer", "expose": ["8080"]}, web=web) == "worker"
    assert role({"image": "grafana/grafana", "expose": ["3000"]}, web=web) == "store"


@pytest.mark.parametrize(
    "it",
    [
        {"build": "it"},
        {"image": "x/queue-worker", "depends_on": ["api"]},
        {"image": "x/gateway", "environment": {"UPSTREAM": "http://api:8080"}},
        {"image": "x/gateway", "command": ["proxy", "api:8080"]},
        {"image": "x/thing", "x-pushrod": {"role": "worker"}},
        {"image": "x/thing", "x-pushrod": {"routes": {"/it/": {}}}},
        {"image": "x/thing", "deploy": {"replicas": 2}},
        {"image": "somebody/app"},
        {"image": "somebody/another-part"},
        {"image": "ghcr.io/me/app", "environment": {"DATABASE_URL": "postgres://db/x"}},
        {"image": "nginx:1", "expose": ["80"]},
        {"image": "x/client", "restart": "no", "command": "seed"},
        {"image": "node:22", "command": "npm run dev", "expose": ["5173"]},
    ],
)
def test_what_belongs_to_a_release_goes_with_it(it: dict[str, Any]) -> None:
    """Built services, services that connect to an instance, the entry, and parts of one application."""
    others: dict[str, Any] = {
        "other": {"image": "somebody/app", "command": "work"},
        "db": {"image": "postgres:17"},
    }
    assert role(it, api={"build": "api"}, **others) != "store"

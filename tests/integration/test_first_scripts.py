"""SQL files that a compose file gives to its PostgreSQL's first start, without Docker: in a real database."""

import json
from collections.abc import Callable

import pytest
import yaml

from devtools import apps
from devtools.apps import App, Machine

pytestmark = pytest.mark.integration

TABLES = "create table goods (id int primary key, name text);\n"
ROWS = "insert into goods values (1, 'desk'), (2, 'lamp');\n"


def files(**sql: str) -> dict[str, str]:
    """The app with a PostgreSQL that has these files."""
    manifest = yaml.safe_load(apps.manifest_with_stores())
    manifest["services"]["postgres"]["volumes"] = ["./db:/docker-entrypoint-initdb.d:ro"]
    named = {f"db/{name.replace('_', '-')}.sql": text for name, text in sql.items()}
    return {"app.py": apps.APP, "compose.yaml": json.dumps(manifest), **named}


def ask(app: App, statement: str) -> str:
    return app.get(f"/sql?q={statement.replace(' ', '%20')}").body


def test_they_run_once_in_an_empty_database(new_machine: Callable[[], Machine]) -> None:
    app = new_machine().app("shop", files(b_rows=ROWS, a_tables=TABLES))
    assert ask(app, "select string_agg(name, ' ' order by id) from goods") == "desk lamp"
    assert ask(app, "insert into goods values (3, 'mug') returning id") == "3"
    app.push_change()
    assert ask(app, "select count(*) from goods") == "3"
    app.tree.commit({"db/c-more.sql": "create table more (id int);\n"})
    assert app.tree.push().ok
    assert "does not exist" in ask(app, "select * from more")


def test_one_that_fails_rejects_the_push_and_leaves_nothing(new_machine: Callable[[], Machine]) -> None:
    app = new_machine().app("shop")
    app.tree.commit(files(a_tables=TABLES, b_rows="insert into good values (1);\n"))
    refused = app.pushrod("deploy")
    assert refused.status == 6
    assert apps.complaint(refused).where == "db/a-tables.sql db/b-rows.sql"
    assert 'relation "good" does not exist' in refused.err
    assert str(app.directory) not in refused.err
    assert (app.get().status, app.get().release) == (200, 1)
    app.tree.commit({"db/b-rows.sql": ROWS})
    assert app.tree.push().ok
    assert ask(app, "select count(*) from goods") == "2"

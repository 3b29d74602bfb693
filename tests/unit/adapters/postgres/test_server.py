from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushrod.adapters.postgres.programs import Programs
from pushrod.adapters.postgres.server import Server, ready, url
from pushrod.core.errors import HostError, StoreError


def psql(directory: Path, body: str, port: int = 1) -> Server:
    """A server whose psql is a script, to test how pushrod handles psql's output."""
    (directory / "psql").write_text(f"#!/bin/sh\n{body}\n")
    (directory / "psql").chmod(0o755)
    return Server(Programs(directory), port, "hidden-password")


def test_the_password_is_in_neither_argv_nor_repr(tmp_path: Path) -> None:
    server = psql(tmp_path, 'echo "$*"; echo "$PGPASSWORD"')
    argv, password = (row[0] for row in server.query("select 1"))
    assert password == "hidden-password"
    assert password not in argv
    assert password not in repr(server)


def test_psql_inherits_no_variable_of_pushrod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    monkeypatch.setenv("HOME", "/elsewhere")
    names = {row[0].partition("=")[0] for row in psql(tmp_path, "env").query("")}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD", "LD_LIBRARY_PATH"} == {
        "LC_ALL",
        "PATH",
        "PGAPPNAME",
        "PGCLIENTENCODING",
        "PGCONNECT_TIMEOUT",
        "PGGSSENCMODE",
        "PGOPTIONS",
        "PGPASSWORD",
        "PGSSLMODE",
    }


def test_rows_keep_separators_quotes_and_lines(tmp_path: Path) -> None:
    server = psql(tmp_path, "printf '%s\\n' '\"a,b\",\"say \"\"x\"\"\"' '' '\"two' 'lines\",'")
    assert server.query("") == [("a,b", 'say "x"'), ("",), ("two\nlines", "")]


def test_an_answer_of_millions_of_rows_is_refused(tmp_path: Path) -> None:
    """Each row of two bytes takes 60 bytes of memory, and an app's own image decides how many there are."""
    with pytest.raises(HostError, match="prints more than 4 MiB"):
        psql(tmp_path, "yes 1 | head -c 6000000").query("")


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ('ERROR:  relation "x" does not exist\nLINE 1: select', 'relation "x" does not exist'),
        ('psql: error: connection to server at "127.0.0.1" failed: FATAL:  sorry', "sorry"),
        ("psql: error: could not do it", "could not do it"),
        ("killed", "killed"),
        ("", "psql failed without an error message"),
    ],
)
def test_the_error_is_postgresqls_message(tmp_path: Path, output: str, what: str) -> None:
    with pytest.raises(StoreError) as caught:
        psql(tmp_path, f"cat >&2 <<'SAID'\n{output}\nSAID\nexit 3").query("x", "shop")
    assert caught.value.what == what
    assert caught.value.where == "database shop of PostgreSQL on port 1"


def test_ready_fails_with_the_log_if_nothing_listens(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("FATAL:  data directory has wrong ownership\n")
    with pytest.raises(StoreError) as caught:
        ready(psql(tmp_path, "exit 0"), 0.05, tmp_path / "log")
    assert "nothing listens on its port after 0.05 s" in caught.value.what
    assert caught.value.log == ("FATAL:  data directory has wrong ownership",)


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
@pytest.mark.slow
def test_url_round_trips_user_and_password(user: str, password: str) -> None:
    parts = urlsplit(url(user, password, 5432, "shop"))
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == (
        "postgresql",
        "127.0.0.1",
        5432,
        "/shop",
    )

"""Secrets on disk, in digests, and redacted from all output."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushrod.core.errors import StateError, UnknownNameError
from pushrod.state.apps import App, Root
from pushrod.state.releases import Releases
from pushrod.state.secrets import Secrets, is_trivial, tells_nothing
from tests.unit.samples import release


@pytest.fixture
def secrets(app: App) -> Secrets:
    return Secrets(app)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


USES: dict[str, Callable[[Secrets], object]] = {
    "password": lambda s: s.password("postgres/app"),
    "store": lambda s: s.store({"TOKEN": "value"}),
    "seal": lambda s: s.seal(1, {"backend": {"TOKEN": "value"}}),
    "digest": lambda s: s.digest("value"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_whatever_is_kept_first_only_its_owner_can_read(
    use: Callable[[Secrets], object], secrets: Secrets
) -> None:
    use(secrets)
    places = [secrets.app.secrets, *secrets.app.secrets.rglob("*")]
    assert len(places) > 1
    for place in places:
        assert mode(place) == (0o700 if place.is_dir() else 0o600), place


def test_a_password_is_made_once_for_each_name(secrets: Secrets) -> None:
    one, other = secrets.password("postgres/app"), secrets.password("postgres/migrator")
    assert one != other
    assert Secrets(secrets.app).password("postgres/app") == one
    assert re.fullmatch(r"[0-9a-f]{32,}", one), "safe in a URL, and 128 bits at least"


def test_variables_are_stored_and_forgotten(secrets: Secrets) -> None:
    assert secrets.variables() == {}
    secrets.store({"A": "1", "B": "ä\n2"})
    secrets.store({"B": "3"})
    assert secrets.variables() == {"A": "1", "B": "3"}
    secrets.unset(["A"])
    assert secrets.variables() == {"B": "3"}


def test_what_was_never_set_cannot_be_forgotten_and_the_rest_stays(secrets: Secrets) -> None:
    secrets.store({"A": "1"})
    with pytest.raises(UnknownNameError, match="no secret `B`"):
        secrets.unset(["A", "B"])
    assert secrets.variables() == {"A": "1"}


@pytest.mark.parametrize("name", ["", "1A", "A B", "A-B", "A=B", "Ä", "A\n"])
def test_a_name_that_no_variable_can_have_is_refused_with_all_that_came_with_it(
    name: str, secrets: Secrets
) -> None:
    with pytest.raises(UnknownNameError, match="cannot be a variable's name"):
        secrets.store({"GOOD": "1", name: "2"})
    assert secrets.variables() == {}


def test_the_environment_of_a_release_is_kept_with_it(secrets: Secrets) -> None:
    secrets.seal(1, {"backend": {"A": "1"}, "worker": {}})
    secrets.seal(2, {"backend": {"A": "2"}})
    place = secrets.app.secrets / "releases"
    (place / "2.json.damaged-1").write_text('{"backend": {"A": "')
    secrets.remove(2)
    secrets.remove(2)
    assert secrets.sealed(1) == {"backend": {"A": "1"}, "worker": {}}
    with pytest.raises(StateError):
        secrets.sealed(2)
    assert [path.name for path in place.iterdir()] == ["1.json"]


def test_a_damaged_file_of_secrets_is_an_error_that_shows_none(secrets: Secrets) -> None:
    secrets.store({"TOKEN": "hunter2-hunter2"})
    path = secrets.app.secrets / "variables.json"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StateError) as e:
        secrets.variables()
    assert "hunter2" not in f"{e.value.what}{e.value.where}{e.value.hint}"
    assert mode(path.with_name("variables.json.corrupt")) == 0o600


def test_no_value_is_in_the_state_that_git_keeps(secrets: Secrets) -> None:
    value = "correct-horse-battery"
    secrets.store({"TOKEN": value})
    password = secrets.password("postgres/app")
    secrets.seal(1, {"backend": {"TOKEN": value}})
    Releases(secrets.app).seal(release(inputs=secrets.digest([secrets.variables()])))
    for path in secrets.app.state.rglob("*"):
        if path.is_file():
            assert value.encode() not in path.read_bytes()
            assert password.encode() not in path.read_bytes()


# ---- digests ----------------------------------------------------------------------------------------------


def test_a_digest_tells_values_apart_and_not_the_order_of_their_names(secrets: Secrets) -> None:
    assert secrets.digest({"a": 1, "b": 2}) == secrets.digest({"b": 2, "a": 1})
    assert secrets.digest(["a"]) != secrets.digest(["b"])


def test_a_digest_cannot_be_guessed_without_the_key(secrets: Secrets, tmp_path: Path) -> None:
    """Another app has another key, so the same value has another digest there; an app's own digest is stable."""
    other = Secrets(App(Root(tmp_path / "other"), "shop"))
    assert secrets.digest("guess") != other.digest("guess")
    assert secrets.digest("guess") == Secrets(secrets.app).digest("guess")
    assert re.fullmatch(r"[0-9a-f]{64}", secrets.digest("guess"))


# ---- redaction ---------------------------------------------------------------------------------------------


def test_every_known_secret_is_taken_out_of_a_line(secrets: Secrets) -> None:
    password = secrets.password("postgres/app")
    secrets.store({"TOKEN": "sesame-open", "DEBUG": "1"})
    line = f"connect postgresql://app:{password}@localhost with sesame-open, 1 try"
    assert secrets.redact(line) == "connect postgresql://app:***@localhost with ***, 1 try"


def test_a_secret_within_another_does_not_leave_the_rest_of_it(secrets: Secrets) -> None:
    values = {f"V{n}": "sesame" + "-open" * n for n in range(8)}
    secrets.store(values)
    for value in values.values():
        assert secrets.redact(f"<{value}>") == "<***>"


def test_a_secret_of_several_lines_is_taken_out_line_by_line(secrets: Secrets) -> None:
    secrets.store({"KEY": "first line\nsecond line\n-\n"})
    assert secrets.redact("it says: second line") == "it says: ***"
    assert secrets.redact("a - b") == "a - b"


@settings(max_examples=40)
@given(
    values=st.lists(st.text(alphabet="abc", min_size=6, max_size=12), min_size=1, max_size=4), data=st.data()
)
@pytest.mark.slow
def test_no_whole_secret_is_ever_left(
    values: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secrets = Secrets(App(Root(tmp_path_factory.getbasetemp() / "redact"), "shop"))
    secrets._write("variables", {f"V{n}": v for n, v in enumerate(values)})
    line = "".join(data.draw(st.lists(st.sampled_from([*values, " ", "x"]), max_size=6)))
    assert not [v for v in values if v in secrets.redact(line)]


@pytest.mark.parametrize(
    "name",
    [
        *("POSTGRES_USER", "MYSQL_DATABASE", "app_port", "TAG", "PGUSER", "WEB_WORKERS", "BIND", "MAX_SIZE"),
        *("ACME_EMAIL", "REDIS_MAXMEMORY", "GUNICORN_MAX_REQUESTS", "PG_MAX_CONNECTIONS", "DJANGO_SETTINGS"),
    ],
)
def test_what_is_no_secret_by_its_name(name: str) -> None:
    assert tells_nothing(name)


@pytest.mark.parametrize(
    "name", ["TOKEN", "DATABASE_URL", "USER_KEY", "REDIS_PASSWORD", "USERS", "PASS", "X", "DSN"]
)
def test_what_may_be_one(name: str) -> None:
    assert not tells_nothing(name)


@pytest.mark.parametrize(("name", "value"), [("RELOAD", "true"), ("FEATURES", "on"), ("RATE", "10000")])
def test_a_switch_and_a_number_are_no_secret(name: str, value: str) -> None:
    assert is_trivial(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("REDIS_PASSWORD", "12345"),
            ("DBPASS", "1"),
            ("API_KEY", "true"),
            ("PIN", "1234"),
            ("pin_code", "12"),
        ),
        *(("X", "1234567"), ("X", "truest"), ("ROOT_PWD_2", "7"), ("APIKEY", "7")),
    ],
)
def test_a_password_may_be_one(name: str, value: str) -> None:
    assert not is_trivial(name, value)

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
from pushrod.system import files
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
def test_files_of_secrets_are_readable_only_by_their_owner(
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


def test_removing_an_unknown_variable_is_refused_and_removes_nothing(secrets: Secrets) -> None:
    secrets.store({"A": "1"})
    with pytest.raises(UnknownNameError, match="no secret `B`"):
        secrets.unset(["A", "B"])
    assert secrets.variables() == {"A": "1"}


@pytest.mark.parametrize("name", ["", "A B", "A=B", "A+", "A\n"])
def test_an_invalid_variable_name_refuses_the_whole_change(name: str, secrets: Secrets) -> None:
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


def test_a_damaged_secrets_file_is_an_error_without_values(secrets: Secrets) -> None:
    secrets.store({"TOKEN": "hunter2-hunter2"})
    path = secrets.app.secrets / "variables.json"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(StateError) as e:
        secrets.variables()
    assert "hunter2" not in f"{e.value.what}{e.value.where}{e.value.hint}"
    assert mode(path.with_name("variables.json.corrupt")) == 0o600


def test_no_secret_value_is_in_the_state_repository(secrets: Secrets) -> None:
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


def test_a_digest_depends_on_values_and_not_on_their_order(secrets: Secrets) -> None:
    assert secrets.digest({"a": 1, "b": 2}) == secrets.digest({"b": 2, "a": 1})
    assert secrets.digest(["a"]) != secrets.digest(["b"])


def test_a_digest_is_keyed_per_app(secrets: Secrets, tmp_path: Path) -> None:
    """Another app has another key, so the same value has another digest there; an app's own digest is stable."""
    other = Secrets(App(Root(tmp_path / "other"), "shop"))
    assert secrets.digest("guess") != other.digest("guess")
    assert secrets.digest("guess") == Secrets(secrets.app).digest("guess")
    assert re.fullmatch(r"[0-9a-f]{64}", secrets.digest("guess"))


# ---- redaction ---------------------------------------------------------------------------------------------


def test_every_known_secret_in_a_line_is_masked(secrets: Secrets) -> None:
    password = secrets.password("postgres/app")
    secrets.store({"TOKEN": "sesame-open", "DEBUG": "1"})
    line = f"connect postgresql://app:{password}@localhost with sesame-open, 1 try"
    assert secrets.redact(line) == "connect postgresql://app:***@localhost with ***, 1 try"


def test_overlapping_secrets_are_masked_completely(secrets: Secrets) -> None:
    values = {f"V{n}": "sesame" + "-open" * n for n in range(8)}
    secrets.store(values)
    for value in values.values():
        assert secrets.redact(f"<{value}>") == "<***>"


def test_a_multiline_secret_is_masked_line_by_line(secrets: Secrets) -> None:
    secrets.store({"KEY": "first line\nsecond line\n-\n"})
    assert secrets.redact("it says: second line") == "it says: ***"
    assert secrets.redact("a - b") == "a - b"


@settings(max_examples=40)
@given(
    values=st.lists(st.text(alphabet="abc", min_size=6, max_size=12), min_size=1, max_size=4), data=st.data()
)
@pytest.mark.slow
def test_no_complete_secret_remains(
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
def test_names_that_hold_no_secret_are_recognized(name: str) -> None:
    assert tells_nothing(name)


@pytest.mark.parametrize(
    "name", ["TOKEN", "DATABASE_URL", "USER_KEY", "REDIS_PASSWORD", "USERS", "PASS", "X", "DSN"]
)
def test_names_that_may_hold_a_secret_are_recognized(name: str) -> None:
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
def test_a_password_is_not_trivial(name: str, value: str) -> None:
    assert not is_trivial(name, value)


def test_what_a_manifest_gives_is_not_redacted(app: App) -> None:
    secrets = Secrets(app)
    assert secrets.given("db") is None
    secrets.set_given("db", "postgres")
    secrets.set_given("redis", "")
    assert (secrets.given("db"), secrets.given("redis")) == ("postgres", "")
    assert secrets.redact("postgres is up") == "postgres is up"
    secrets.set_given("db", None)
    assert secrets.given("db") is None
    (app.secrets / "given.json").write_text("{")
    assert secrets.given("redis") is None


def test_a_rotation_alternates_between_two_roles_and_goes_on(app: App) -> None:
    secrets = Secrets(app)
    old, migrator = secrets.password("db/app"), secrets.password("db/migrator")
    assert secrets.logins("db") == ("app",)
    assert secrets.begin_rotation("db") == ("app2", "app")
    new = secrets.password("db/app2")
    assert secrets.begin_rotation("db") == ("app2", "app") == secrets.logins("db")  # it goes on
    assert (secrets.password("db/app2"), secrets.password("db/app")) == (new, old)
    assert secrets.rotated("db") == {migrator: secrets.password("db/migrator")}
    secrets.end_rotation("db")
    assert (secrets.logins("db"), secrets.knows("db/app"), secrets.rotated("db")) == (("app2",), False, {})
    assert secrets.begin_rotation("db") == ("app", "app2")
    assert secrets.password("db/app") != old


@pytest.mark.parametrize("step", ["begin", "end"])
def test_a_rotation_that_is_cut_off_between_two_files_loses_no_password(
    app: App, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    secrets = Secrets(app)
    secrets.password("db/app")
    migrator = secrets.password("db/migrator")
    if step == "end":
        secrets.begin_rotation("db")
    write = Secrets._write

    def cut(self: Secrets, what: str, values: dict[str, str]) -> None:
        if what == "logins":
            raise KeyboardInterrupt
        write(self, what, values)

    with monkeypatch.context() as patch:
        patch.setattr(Secrets, "_write", cut)
        with pytest.raises(KeyboardInterrupt):
            (secrets.begin_rotation if step == "begin" else secrets.end_rotation)("db")
    assert secrets.begin_rotation("db") == ("app2", "app")
    assert secrets.rotated("db") == ({migrator: secrets.password("db/migrator")} if step == "begin" else {})
    secrets.end_rotation("db")
    assert (secrets.logins("db"), secrets.rotated("db")) == (("app2",), {})
    migrator = secrets.password("db/migrator")
    secrets.begin_rotation("db")
    assert secrets.rotated("db") == {migrator: secrets.password("db/migrator")}


def test_texts_in_a_sealed_environment_are_replaced(app: App) -> None:
    secrets = Secrets(app)
    secrets.seal(3, {"web": {"URL": "postgresql://a:old@db/x", "OTHER": "old-fashioned"}})
    files.make_private(app.secrets / "releases" / "3")
    files.write(app.secrets / "releases" / "3" / "web.env", 'URL="postgresql://a:old@db/x"\n', mode=0o600)
    secrets.replace_sealed(3, {"a:old@": "b:new@"})
    assert secrets.sealed(3)["web"] == {"URL": "postgresql://b:new@db/x", "OTHER": "old-fashioned"}
    made = app.secrets / "releases" / "3" / "web.env"
    assert (made.read_text(), made.stat().st_mode & 0o777) == ('URL="postgresql://b:new@db/x"\n', 0o600)
    secrets.replace_sealed(4, {"a": "b"})

"""The files with a release's hooks."""

from pathlib import Path

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError
from pushrod.core.values import Instance, Manifest, Release
from pushrod.engines.docker import hooking, hooks, names
from pushrod.releases.prepare import _without_values
from pushrod.state.apps import App, Root
from tests.unit import samples

CHOWN = {
    "command": ["chown", "app", "/data"],
    "user": "root",
    "working_dir": "/",
    "environment": {"A": "1 #x", "B": None},
}
ECHO = {"command": ["echo", "bye"]}


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Root(tmp_path), "shop")


def services(**changes: object) -> Manifest:
    given = {
        "web": {"build": ".", "ports": ["80:80"], "depends_on": ["api", "db"], "pre_stop": [ECHO]},
        "api": {"build": ".", "expose": ["81"], "depends_on": ["queue"], "post_start": [ECHO], "scale": 2},
        "queue": {"build": ".", "post_start": [CHOWN, ECHO], "pre_stop": [CHOWN]},
        "db": {"image": "postgres:16", "post_start": [{**ECHO, "environment": ["A=b"]}]},
        **changes,
    }
    return manifest.read({"services": given}, engine="docker")


def release(parsed: Manifest) -> Release:
    placed = tuple(
        Instance(f"{s.name}-{n}", s.name) for s in parsed.stateless for n in range(1, s.replicas + 1)
    )
    return samples.release(7, services=parsed.stateless, stores=parsed.stores, instances=placed)


def test_hooks_are_written_in_the_start_order_of_services(app: App) -> None:
    parsed = services()
    result = hooking.texts(app, release(parsed), parsed, {"B": "hush"})
    assert sorted(result) == ["hooks.json", "store-hooks.json"]
    path = app.root.path / "hooks"
    path.write_text(result["hooks.json"])
    rows = hooks.read(path)
    assert list(rows) == ["shop-r7-queue-1", "shop-r7-api-1", "shop-r7-api-2", "shop-r7-web-1"]
    kept = app.secrets / "releases" / "7"
    file = kept / "queue.post_start.0.hook"
    options = ("docker", "exec", "--user=root", "--workdir=/", f"--env-file={file}")
    assert rows["shop-r7-queue-1"].post_start == (
        (*options, "shop-r7-queue-1", "chown", "app", "/data"),
        ("docker", "exec", "shop-r7-queue-1", "echo", "bye"),
    )
    assert file.read_text() == "A=1 #x\nB=hush\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hush" not in "".join(result.values())


def test_hooks_of_stores_are_kept_across_releases(app: App) -> None:
    parsed = services()
    sealed = release(parsed)
    texts = [hooking.texts(app, sealed, parsed, {})["store-hooks.json"]]
    at = names.files(app, 7) / names.STORE_HOOKS
    at.parent.mkdir(parents=True)
    at.write_text(texts[0])
    result = hooking.of_stores(app, sealed)
    environment = app.secrets / "stores" / "db.post_start.0.hook"
    assert result == {environment: "A=b\n", app.state / "stores" / "hooks.json": texts[0]}
    assert str(environment) in texts[0]
    environment.parent.mkdir(parents=True)
    environment.touch()
    hooking.remove_environments(app, "d")
    assert environment.exists()
    hooking.remove_environments(app, "db")
    assert not environment.exists()


def test_removed_hooks_of_stores_are_written_as_an_empty_list(app: App) -> None:
    parsed = services(db={"image": "postgres:16"})
    assert hooking.of_stores(app, release(parsed)) == {}
    names.running_hooks(app).parent.mkdir(parents=True)
    names.running_hooks(app).write_text("[{}]")
    assert hooking.of_stores(app, release(parsed)) == {names.running_hooks(app): "[]\n"}


@pytest.mark.parametrize("environment", [{"A": "1\n2"}, {"A": "x\r"}, {"A B": "1"}, {"B": None}])
def test_a_hook_environment_that_a_file_cannot_hold_is_refused(
    app: App, environment: dict[str, str | None]
) -> None:
    parsed = services(
        web={"build": ".", "ports": ["80:80"], "post_start": [{**ECHO, "environment": environment}]}
    )
    with pytest.raises(ManifestError, match="cannot be in a hook's environment"):
        hooking.texts(app, release(parsed), parsed, {"B": "a\nb"})


def test_no_value_becomes_an_option(app: App) -> None:
    hook = {"command": ["--privileged", "-u0"], "user": "--privileged", "working_dir": "--user=0"}
    parsed = services(web={"build": ".", "ports": ["80:80"], "post_start": [hook]})
    path = app.root.path / "hooks"
    path.write_text(hooking.texts(app, release(parsed), parsed, {})["hooks.json"])
    (argv,) = hooks.read(path)["shop-r7-web-1"].post_start
    assert argv == (
        *("docker", "exec", "--user=--privileged", "--workdir=--user=0"),
        *("shop-r7-web-1", "--privileged", "-u0"),
    )


def test_their_values_are_not_sealed() -> None:
    kept = _without_values(services().service("queue"))
    assert kept.post_start[0].environment == {"A": None, "B": None}
    assert kept.post_start[0].user == "root"

"""The files that a commit's compose file may name: paths inside the commit."""

from pathlib import Path

import pytest

from pushrod.adapters import landlock, sandbox
from pushrod.core.errors import HostError, ManifestError
from pushrod.system import processes


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "shop" / "sub").mkdir(parents=True)
    (tmp_path / "shop" / "out").symlink_to("..")
    (tmp_path / "shop" / "round").symlink_to("round")
    (tmp_path / "shop" / "sub" / "up").symlink_to("../there")
    return tmp_path / "shop"


@pytest.mark.parametrize(
    ("relative", "result"),
    [("a", "a"), (".", "."), ("sub/../a", "a"), ("sub/up/x", "there/x"), ("..a", "..a")],
)
def test_a_path_inside_the_commit_is_accepted(checkout: Path, relative: str, result: str) -> None:
    assert sandbox.inside(checkout, relative) == checkout / result


@pytest.mark.parametrize(
    "relative", ["..", "../shop2", "sub/../../x", "/etc/passwd", "~/x", "out", "out/x", "a\0"]
)
def test_a_path_outside_the_commit_is_refused(checkout: Path, relative: str) -> None:
    with pytest.raises(ManifestError) as error:
        sandbox.inside(checkout, relative, where="services.web.env_file")
    assert error.value.where == "services.web.env_file"
    assert error.value.hint


def test_a_recursive_link_is_refused(checkout: Path) -> None:
    with pytest.raises(ManifestError, match="followed"):
        sandbox.inside(checkout, "round/x")


def test_without_landlock_the_loader_has_only_resource_limits(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    argv = sandbox.confined(["sh", "-c", "ulimit -d; ulimit -t; ulimit -f; ulimit -c"], checkout)
    done = processes.run(argv)
    assert done.status == 0, done.stderr
    memory, seconds, output, core = map(int, done.stdout.split())
    assert (memory, seconds, output * 512, core) == (512 << 10, 20, landlock.OUTPUT, 0)


def test_a_missing_loader_is_refused(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 1)
    with pytest.raises(HostError, match="no such program"):
        sandbox.confined(["no-such-compose"], checkout)


def test_values_of_unrelated_keys_are_not_taken_for_paths(checkout: Path) -> None:
    """`include` and the like have a meaning only in their places: elsewhere they are an app's own names."""
    text = (
        "services: {web: {image: a, environment: {include: /etc, env_file: /etc/x}, labels: {extends: /x}}}\n"
    )
    (checkout / "compose.yaml").write_text(text)
    if landlock.version():
        sandbox.check_named(checkout, "compose.yaml")


def test_without_landlock_paths_must_be_literal(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 0)
    for text in (
        "services: {a: {env_file: '${X}.env'}}",
        "include: [b.yaml]",
        "services: [",
        "x: !!binary YQ==",
    ):
        (checkout / "compose.yaml").write_text(text)
        with pytest.raises(ManifestError) as error:
            sandbox.check_named(checkout, "compose.yaml")
        assert "Landlock" in error.value.hint
    (checkout / "compose.yaml").write_text("services: {a: {extends: b, env_file: x.env}, b: {image: '${X}'}}")
    sandbox.check_named(checkout, "compose.yaml")


def test_bind_mounts_of_the_host_are_not_checked_here(checkout: Path) -> None:
    binds = [{"type": "bind", "source": s} for s in ("/srv", "../x", "sub")] + [
        {"type": "volume", "source": "out"}
    ]
    sandbox.check_resolved({"services": {"web": {"volumes": binds}}}, checkout)
    with pytest.raises(ManifestError) as error:
        sandbox.check_resolved(
            {"services": {"web": {"volumes": [*binds, {"type": "bind", "source": "out/x"}]}}}, checkout
        )
    assert error.value.where == "services.web.volumes[4].source"

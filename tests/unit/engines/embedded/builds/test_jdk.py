"""JDKs of this machine: found by their `release` file and their compiler."""

from pathlib import Path

import pytest

from pushrod.engines.embedded.builds import jdk


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java: nothing on the path, no JAVA_HOME, and this directory for JDKs."""
    monkeypatch.setattr(jdk, "_PLACES", tmp_path)
    monkeypatch.setattr(jdk, "PATH", str(tmp_path / "path"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def kit(home: Path, version: str, *, compiler: bool = True) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\n')
    if compiler:
        (home / "bin" / "javac").write_text("#!/bin/sh\n")
        (home / "bin" / "javac").chmod(0o755)
    return home


def test_a_machine_without_java_has_none(places: Path) -> None:
    assert jdk.kits() == []
    assert jdk.suitable(0) is None


def test_the_newest_is_first_and_a_link_to_one_is_that_one(places: Path) -> None:
    for version in ("8", "21.0.4", "17.0.15"):
        kit(places / f"jdk-{version}", "1.8.0_402" if version == "8" else version)
    (places / "default").symlink_to("jdk-17.0.15")
    assert [(k.version, k.feature) for k in jdk.kits()] == [("21.0.4", 21), ("17.0.15", 17), ("8.0_402", 8)]


def test_that_of_the_path_is_first(places: Path) -> None:
    kit(places / "jdk-21", "21")
    home = kit(places / "jdk-17", "17")
    (places / "path").mkdir()
    (places / "path" / "javac").symlink_to(home / "bin" / "javac")
    assert [k.feature for k in jdk.kits()] == [17, 21]


def test_that_of_the_environment_is_used(
    places: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit(places / "jdk-21", "21")
    monkeypatch.setenv("JAVA_HOME", str(kit(tmp_path_factory.mktemp("own") / "jdk", "17.0.1")))
    assert [k.version for k in jdk.kits()] == ["17.0.1", "21"]


def test_a_jre_cannot_compile(places: Path) -> None:
    kit(places / "jre-21", "21", compiler=False)
    (places / "not-java").mkdir()
    assert jdk.kits() == []


def test_one_that_is_new_enough(places: Path) -> None:
    for version in ("17.0.15", "25"):
        kit(places / version, version)
    assert [k.feature if (k := jdk.suitable(n)) else 0 for n in (0, 17, 21, 26)] == [25, 25, 25, 0]

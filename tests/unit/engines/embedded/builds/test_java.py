"""Commands of Java programs: their jars, and where those are after a build."""

from pathlib import Path

import pytest

from pushrod.engines.embedded.builds import java

SCRIPT = ("sh", "-c", "java -jar /srv/app.jar migrate && exec java -Xmx1g -jar /srv/app.jar")


def test_the_jars_of_commands() -> None:
    argvs = (
        ("java", "-XX:MaxRAMPercentage=60", "-jar", "target/app.jar", "--x"),
        SCRIPT,
        ("java", "-jar", "*.jar"),
    )
    assert java.jars(argvs) == ("target/app.jar", "/srv/app.jar")


def test_their_names_in_the_working_directory() -> None:
    assert java.names(("target/app.jar", "/srv/app.jar", "../up.jar")) == (
        "app.jar",
        "target/app.jar",
        "up.jar",
    )


@pytest.mark.parametrize(
    ("argv", "placed"),
    [
        (("java", "-jar", "/srv/app.jar", "work"), ("java", "-jar", "app.jar", "work")),
        (("java", "-jar", "app.jar"), ("java", "-jar", "app.jar")),
        (("java", "-jar", "/srv/other.jar"), ("java", "-jar", "/srv/other.jar")),
        (SCRIPT, ("sh", "-c", "java -jar app.jar migrate && exec java -Xmx1g -jar app.jar")),
        (
            ("java", "-Xmx1g", "org.springframework.boot.loader.launch.JarLauncher", "x"),
            ("java", "-Xmx1g", "-jar", "app.jar", "x"),
        ),
        (
            ("sh", "-c", "exec java org.springframework.boot.loader.JarLauncher"),
            ("sh", "-c", "exec java -jar app.jar"),
        ),
        (("python", "-jar", "/srv/app.jar"), ("python", "-jar", "/srv/app.jar")),
    ],
)
def test_a_command_where_the_jar_is(tmp_path: Path, argv: tuple[str, ...], placed: tuple[str, ...]) -> None:
    (tmp_path / "app.jar").write_text("")
    assert java.placed(argv, tmp_path) == placed


def test_a_jar_of_the_machine_stays(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for path in (tmp_path / "app.jar", tmp_path / "run" / "app.jar"):
        path.write_text("")
    argv = ("java", "-jar", str(tmp_path / "app.jar"))
    assert java.placed(argv, tmp_path / "run") == argv

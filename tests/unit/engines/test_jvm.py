"""The heap of a JVM as a plan tells it."""

from pathlib import Path

import pytest

from pushrod.core.values import Build, Manifest, Service
from pushrod.engines import jvm

MIB = 1 << 20


@pytest.mark.parametrize(
    ("options", "limit", "expected"),
    [
        (
            "-XX:MaxRAMPercentage=60",
            512 * MIB,
            "its Java heap may take 307 MiB of `mem_limit` 512 MiB (`-XX:MaxRAMPercentage=60`)",
        ),
        (
            "",
            512 * MIB,
            "its Java heap may take 128 MiB of `mem_limit` 512 MiB (a JVM's own 25 %); "
            "`-XX:MaxRAMPercentage=60` in its command gives it more",
        ),
        (
            "-Xmx1g",
            1024 * MIB,
            "its Java heap may take 1024 MiB of `mem_limit` 1 GiB, as its options say; "
            "classes, threads and buffers need room too: at most 75% leaves enough",
        ),
        (
            "-Xms1g -Xmx256m",
            512 * MIB,
            "its Java heap may take 256 MiB of `mem_limit` 512 MiB, as its options say",
        ),
        (
            "",
            0,
            "its Java heap may take 25 % of the machine's memory (a JVM's own 25 %); "
            "`mem_limit` would bound the whole process",
        ),
        (
            "-Xmx2G",
            0,
            "its Java heap may take 2048 MiB, as its options say; `mem_limit` would bound the whole process",
        ),
    ],
)
def test_what_it_may_take(options: str, limit: int, expected: str) -> None:
    assert jvm.heap(options, limit) == expected


def remarks(checkout: Path, **fields: object) -> list[str]:
    service = Service(name="api", role="entry", build=Build(), memory=512 * MIB, **fields)  # type: ignore[arg-type]
    return jvm.remarks(Manifest(services=(service,)), checkout)


def test_the_command_comes_after_the_image_and_its_variables(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM x\nENV JAVA_TOOL_OPTIONS="-Xmx100m"\nCMD ["java", "-XX:MaxRAMPercentage=40", "-jar", "app.jar"]\n'
    )
    assert "100 MiB" in remarks(tmp_path)[0]
    given = {"JAVA_TOOL_OPTIONS": "-Dx=1"}
    assert "205 MiB" in remarks(tmp_path, environment=given)[0]
    command = ("sh", "-c", "exec java -XX:MaxRAMPercentage=70 -jar app.jar")
    assert "358 MiB" in remarks(tmp_path, environment=given, command=command)[0]


def test_without_a_container_nothing_bounds_the_rest(tmp_path: Path) -> None:
    service = Service("api", "entry", command=("java", "-jar", "a.jar"), memory=512 * MIB)
    (note,) = jvm.remarks(Manifest(services=(service,)), tmp_path, contained=False)
    assert note.startswith("api: its Java heap may take 128 MiB of `mem_limit` 512 MiB")
    assert note.endswith("; nothing bounds the rest of the process on the embedded engine")


def test_other_programs_have_none(tmp_path: Path) -> None:
    assert remarks(tmp_path, command=("python", "javac.py")) == []
    assert remarks(tmp_path, command=("java", "-jar", "a.jar"), replicas=0) == []
    assert remarks(tmp_path, command=("python", "a.py"), release=("java", "-jar", "migrate.jar")) == []


@pytest.mark.parametrize(
    ("argv", "runs"),
    [
        (("java", "-jar", "app.jar"), True),
        (("/opt/java/openjdk/bin/java", "-version"), True),
        (("sh", "-c", "java -jar a.jar migrate && exec java -Xmx1g -jar a.jar"), True),
        (("python", "javascript.py"), False),
        (("javac", "A.java"), False),
    ],
)
def test_what_calls_java(argv: tuple[str, ...], runs: bool) -> None:
    assert jvm.runs(argv) == runs


def test_without_a_container_the_limit_is_an_option() -> None:
    argv = ("java", "-jar", "app.jar")
    assert jvm.bounded(512 * MIB, argv) == {"JDK_JAVA_OPTIONS": "-XX:MaxRAM=536870912"}
    assert jvm.bounded(0, argv) == jvm.bounded(1 << 60, argv) == jvm.bounded(512 * MIB, ("python",)) == {}

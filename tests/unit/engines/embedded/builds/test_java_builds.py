"""The Java program of a service: what causes a new build, and what is refused without its tools.

Nothing is built here: `tests/integration/test_template_spring.py` builds.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pushrod.adapters import dockerfile
from pushrod.core.errors import BuildError
from pushrod.core.values import Build
from pushrod.engines.embedded.builds import java_builds, jdk
from pushrod.engines.embedded.builds.java_builds import Jar

POM = "<project><properties><java.version>{}</java.version></properties></project>"
RUN = ("java", "-jar", "app.jar")
LAYERED = """\
FROM maven:3.9 AS build
WORKDIR /src
COPY backend/pom.xml .
RUN mvn --batch-mode dependency:go-offline
COPY backend/src/ src/
RUN mvn -B -o -f pom.xml -Pprod -DskipTests package && \\
    java -Djarmode=tools -jar target/app.jar extract --layers --destination /layers
FROM eclipse-temurin:21-jre
WORKDIR /srv
COPY --from=build /layers/application/ ./
COPY conf/ ./conf/
RUN java -XX:ArchiveClassesAtExit=app.jsa -jar app.jar >/dev/null && chmod a+rX /srv
CMD ["java", "-jar", "app.jar"]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    write(place / "backend/pom.xml", POM.format(17))
    write(place / "backend/src/A.java", "")
    write(place / "conf/a.yaml", "")
    write(place / "readme", "")
    return place


@pytest.fixture
def kits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def have(*features: int) -> None:
        result = [jdk.Kit(tmp_path / f"jdk-{n}", f"{n}.0.1", n) for n in features]
        monkeypatch.setattr(jdk, "kits", lambda: result)

    have(17)
    return have


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def find(checkout: Path, text: str = LAYERED, argv: tuple[str, ...] = RUN, context: str = ".") -> Jar | None:
    recipe = dockerfile.read(text) if text else dockerfile.Recipe()
    return java_builds.find(Build(context=context), text, recipe, (argv, ()), checkout)


def jar_of(checkout: Path, text: str = LAYERED, argv: tuple[str, ...] = RUN, context: str = ".") -> Jar:
    jar = find(checkout, text, argv, context)
    assert jar is not None
    return jar


class TestFind:
    def test_as_its_dockerfile_says(self, checkout: Path) -> None:
        jar = jar_of(checkout)
        assert (jar.tool, jar.project, jar.names) == ("Maven", "backend", ("app.jar",))
        assert jar.words == ("-Pprod", "-DskipTests", "package"), "without what makes sense only there"
        assert jar.extracts
        assert jar.archive == ("java", "-XX:ArchiveClassesAtExit=app.jsa", "-jar", "app.jar")
        assert [inside for _, inside in java_builds._beside(jar, checkout)] == ["conf"]

    def test_without_a_dockerfile_the_usual_goal(self, checkout: Path) -> None:
        jar = jar_of(checkout, "")
        assert (jar.project, jar.words) == ("backend", ("package", "-Dmaven.test.skip"))

    @pytest.mark.parametrize(
        ("name", "tool", "words"),
        [
            ("pom.xml", "Maven", ("package", "-Dmaven.test.skip")),
            ("build.gradle.kts", "Gradle", ("assemble",)),
        ],
    )
    def test_by_its_file(self, tmp_path: Path, name: str, tool: str, words: tuple[str, ...]) -> None:
        write(tmp_path / "api" / name, "")
        jar = jar_of(tmp_path, "", context="api")
        assert (jar.tool, jar.words, jar.project) == (tool, words, "api")

    def test_a_call_of_the_wrapper_of_gradle(self, tmp_path: Path) -> None:
        write(tmp_path / "build.gradle", "")
        text = "FROM gradle\nCOPY . .\nRUN ./gradlew --no-daemon clean bootJar -x test\n" + 'CMD ["java"]\n'
        assert jar_of(tmp_path, text).words == ("clean", "bootJar", "-x", "test")

    def test_the_parent_of_modules(self, checkout: Path) -> None:
        write(checkout / "pom.xml", "")
        text = "FROM maven\nCOPY backend/pom.xml backend/\nCOPY pom.xml .\n"
        assert jar_of(checkout, text).project == "."

    def test_other_programs_and_jars_of_the_commit_are_not_built(self, checkout: Path) -> None:
        assert find(checkout, argv=("python", "app.py")) is None
        write(checkout / "app.jar", "")
        assert find(checkout) is None
        (checkout / "app.jar").unlink()
        (checkout / "backend/pom.xml").unlink()
        assert find(checkout) is None

    def test_nothing_outside_the_commit(self, checkout: Path) -> None:
        write(checkout.parent / "pom.xml", "")
        jar = jar_of(checkout, "FROM maven\nCOPY ../pom.xml .\nCOPY ../../etc/ ./etc/\n")
        assert jar.project == "backend"
        assert list(java_builds._beside(jar, checkout)) == []


class TestIdentity:
    def of(self, checkout: Path) -> str:
        return java_builds.identity("backend", jar_of(checkout), checkout)

    def test_follows_what_is_built(self, checkout: Path, kits: Callable[..., None]) -> None:
        seen = [self.of(checkout)]
        write(checkout / "readme", "other")
        assert self.of(checkout) == seen[0], "what is not part of it"
        for change in (
            lambda: write(checkout / "backend/src/A.java", "class A {}"),
            lambda: (checkout / "backend/src/A.java").rename(checkout / "backend/src/B.java"),
            lambda: (checkout / "backend/src/B.java").chmod(0o755),
            lambda: write(checkout / "conf/a.yaml", "b"),
            lambda: kits(21),
        ):
            change()
            seen.append(self.of(checkout))
        assert len(set(seen)) == len(seen)


@pytest.mark.usefixtures("kits")
class TestCheck:
    def test_no_jdk(self, checkout: Path, kits: Callable[..., None]) -> None:
        kits()
        with pytest.raises(
            BuildError, match="backend is built with Maven, and this machine has no JDK"
        ) as refused:
            java_builds.check("backend", jar_of(checkout), checkout)
        assert refused.value.where == "backend/pom.xml"
        assert "openjdk-17-jdk-headless" in refused.value.hint

    def test_none_that_is_new_enough(self, checkout: Path, kits: Callable[..., None]) -> None:
        write(checkout / "backend/pom.xml", POM.format(21))
        kits(17, 11)
        with pytest.raises(BuildError, match=r"no JDK 21 or newer \(found: 17\.0\.1, 11\.0\.1\)"):
            java_builds.check("backend", jar_of(checkout), checkout)

    def test_no_maven(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(java_builds, "PATH", "")
        with pytest.raises(BuildError, match="neither `mvnw` in the commit nor `mvn` on this machine"):
            java_builds.check("backend", jar_of(checkout), checkout)
        write(checkout / "backend/mvnw", "#!/bin/sh\n")
        java_builds.check("backend", jar_of(checkout), checkout)


@pytest.mark.usefixtures("kits")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo Downloading https://services.gradle.org/distributions/gradle-8.10-bin.zip\n"
            "echo 'Exception in thread \"main\" java.net.UnknownHostException: services.gradle.org' >&2\nexit 1\n",
            "`gradlew`, the project's own wrapper, cannot start Gradle",
        ),
        (
            "echo 'Error: Unable to access jarfile gradle/wrapper/gradle-wrapper.jar' >&2; exit 1",
            "`gradlew`, the project's own wrapper, cannot start Gradle",
        ),
        ("no-such-java\n", "`gradlew`, the project's own wrapper, cannot start Gradle"),
        *(
            (f"echo '{line}' >&2; exit 1\n", "`gradlew`, the project's own wrapper, cannot start Gradle")
            for line in (
                "wget: Failed to fetch https://example.org/apache-maven-3.9.9-bin.zip",
                "Error: Failed to validate Maven distribution SHA-256, your Maven distribution might be compromised.",
                "distributionUrl is not valid, must match *-bin.zip or maven-mvnd-*.zip, but found x",
                "failed to unzip",
                "Verification of Gradle distribution failed!",
            )
        ),
        ("echo BUILD FAILED; exit 1\n", "Gradle cannot build it"),
    ],
)
def test_a_wrapper_that_cannot_download_is_told_from_a_build_that_fails(
    tmp_path: Path, script: str, words: str
) -> None:
    write(tmp_path / "build.gradle", "")
    write(tmp_path / "gradlew", script)
    build = Jar("Gradle", ".", ("assemble",), ".", ("app.jar",))
    kit, printed = jdk.kits()[0], list[str]()
    with pytest.raises(BuildError, match=words) as refused:
        java_builds._run("web", build, ["/bin/sh", "gradlew"], tmp_path, kit, printed.append)
    assert refused.value.log
    assert ("distributionUrl" in refused.value.hint) == ("wrapper" in words)


@pytest.mark.usefixtures("kits")
def test_what_a_failing_build_says_has_the_paths_of_the_commit(tmp_path: Path) -> None:
    write(tmp_path / "sources/pom.xml", "<project/>")
    script = tmp_path / "sources/mvnw"
    write(
        script,
        f"echo '[INFO] BUILD FAILURE'\necho '[ERROR] {tmp_path}/sources/src/App.java:[4,1] cannot find symbol'\n"
        "echo '[ERROR] '\necho '[ERROR] -> [Help 1]'\necho '[ERROR] [Help 1] http://example.com'\nexit 1\n",
    )
    build, printed = Jar("Maven", ".", ("package",), "backend", ("app.jar",)), list[str]()
    with pytest.raises(BuildError, match="Maven cannot build it") as refused:
        java_builds._run(
            "web", build, ["/bin/sh", "mvnw"], tmp_path / "sources", jdk.kits()[0], printed.append
        )
    assert printed == ["[ERROR] backend/src/App.java:[4,1] cannot find symbol"]
    assert refused.value.log == tuple(printed)


class TestBuilt:
    def jar(self, path: Path, *, runs: bool = True) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("META-INF/MANIFEST.MF", "Main-Class: A\n" if runs else "Created-By: B\n")
        return path

    def built(self, checkout: Path) -> Path:
        return java_builds._built("backend", jar_of(checkout), checkout / "backend")

    def test_the_one_that_can_be_run(self, checkout: Path) -> None:
        self.jar(checkout / "backend/target/shop-1-sources.jar", runs=False)
        jar = self.jar(checkout / "backend/target/shop-1.jar")
        assert self.built(checkout) == jar

    def test_of_several_the_one_that_is_named(self, checkout: Path) -> None:
        self.jar(checkout / "backend/tools/target/tools.jar")
        jar = self.jar(checkout / "backend/web/target/app.jar")
        assert self.built(checkout) == jar

    def test_none_and_several_are_refused(self, checkout: Path) -> None:
        with pytest.raises(BuildError, match="no jar that `java -jar` can run"):
            self.built(checkout)
        for name in ("one", "two"):
            self.jar(checkout / f"backend/{name}/target/{name}.jar")
        with pytest.raises(BuildError, match=r"several jars .*: one/target/one\.jar, two/target/two\.jar"):
            self.built(checkout)

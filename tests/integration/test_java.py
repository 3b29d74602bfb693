"""A JVM on the stores: the manifest of the documentation, and a program that reads its environment as Spring does.

It is compiled at start by the JVM itself, so it needs no build tool and no library except PostgreSQL's driver.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from devtools.apps import App, Machine

DRIVER = Path("/usr/share/java/postgresql.jar")  # Debian's libpostgresql-jdbc-java
CODE = Path(__file__).parent / "java"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "spring-boot.yaml"
DOCKERFILE = f"""\
FROM eclipse-temurin:21-jre
WORKDIR /srv
COPY . .
ENTRYPOINT ["java", "-XX:TieredStopAtLevel=1", "-cp", "{DRIVER}", "Backend.java"]
"""


def lacking() -> str:
    """What this machine lacks for a JVM that compiles; empty if nothing."""
    if not shutil.which("java"):
        return "no java on this machine"
    modules = subprocess.run(["java", "--list-modules"], capture_output=True, text=True, check=False).stdout
    if "jdk.compiler" not in modules:
        return "this machine's java has no compiler"
    return "" if DRIVER.exists() else "no PostgreSQL driver for Java (libpostgresql-jdbc-java)"


pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(lacking()), reason=lacking())]


def files(environment: dict[str, str]) -> dict[str, str]:
    """The repository: the example's manifest, with these variables instead of its own."""
    manifest = yaml.safe_load(EXAMPLE.read_text())
    manifest["services"]["backend"]["environment"] = environment
    code = {f"backend/{p.name}": p.read_text() for p in CODE.iterdir()}
    return {"compose.yaml": yaml.safe_dump(manifest), "backend/Dockerfile": DOCKERFILE, **code}


def given() -> dict[str, str]:
    environment: dict[str, str] = yaml.safe_load(EXAMPLE.read_text())["services"]["backend"]["environment"]
    return environment | {"REPORTS_JDBC": "jdbc:postgresql://postgres:5432/appdb?ApplicationName=reports"}


@pytest.fixture(scope="module")
def spring(new_machine: Callable[[], Machine]) -> App:
    return new_machine().app("spring", files(given()))


def test_a_jvm_reaches_its_stores_by_the_variables_of_spring(spring: App) -> None:
    assert json.loads(spring.get("/actuator/health").body) == {"status": "UP"}
    assert spring.get("/sql").body == "spring_app appdb 1 true"
    assert spring.get("/redis").body == "+OK+OK$5hello"


def test_the_environment_overrides_application_properties(spring: App) -> None:
    """A Java image alone shows that these variables are read; the manifest says nothing of the datasource."""
    kept = {name: value for name, value in given().items() if name in ("SERVER_PORT", "REPORTS_JDBC")}
    spring.tree.commit(files(kept), "let application.properties say it")
    done = spring.tree.push()
    assert done.ok, done.err
    assert spring.get("/sql").body.startswith("spring_app appdb 2")
    assert spring.get("/redis").body == "+OK+OK$5hello"

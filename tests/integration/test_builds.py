"""Locks of pnpm and yarn, and builds of Gradle, without Docker: with the real tools and a package of the registry.

Each is skipped where its tool is missing. `test_node.py` has npm, `test_template_spring.py` Maven.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest

from devtools import java
from devtools.apps import Machine
from devtools.servers import free_port
from devtools.shop import LONGEST

pytestmark = pytest.mark.integration

# Of the package `ms`, which has no dependencies.
_DIGEST = "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=="
LOCKS = {
    "pnpm": (
        "pnpm-lock.yaml",
        "lockfileVersion: '9.0'\nsettings: {autoInstallPeers: true, excludeLinksFromLockfile: false}\n"
        "importers:\n  .:\n    dependencies:\n      ms: {specifier: 2.1.3, version: 2.1.3}\n"
        f"packages:\n  ms@2.1.3:\n    resolution: {{integrity: {_DIGEST}}}\nsnapshots:\n  ms@2.1.3: {{}}\n",
        "10",
    ),
    "yarn": (
        "yarn.lock",
        '# yarn lockfile v1\n\nms@2.1.3:\n  version "2.1.3"\n'
        '  resolved "https://registry.yarnpkg.com/ms/-/ms-2.1.3.tgz#574c8138ce1d2b5861f0b44579dbadd60c6615b2"\n'
        f"  integrity {_DIGEST}\n",
        "1",
    ),
}
SERVER = """\
const answer = (_, a) => a.end(require("ms")(90000, {long: true}));
require("http").createServer(answer).listen(process.env.PORT);
process.on("SIGTERM", () => process.exit(0));
"""
APP = """\
package shop;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
public class App {
  public static void main(String[] words) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
    server.createContext("/", exchange -> {
      byte[] body = words[0].getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
"""
GRADLE = """\
apply plugin: 'java'
jar { archiveName = 'app.jar'; manifest { attributes 'Main-Class': 'shop.App' } }
"""


def compose(port: int) -> str:
    return f"services:\n  web:\n    build: .\n    ports: ['80:{port}']\n"


def pushed(machine: Machine, name: str, files: Mapping[str, str]) -> tuple[str, str]:
    """What the app answers, and what the push has printed."""
    app = machine.app(name, files, push=False)
    done = app.tree.push(timeout=LONGEST)
    try:
        assert done.ok, done.err
        return app.get().body, done.err
    finally:
        app.must("down")


def _has(manager: str, version: str) -> bool:
    """Whether the machine has a package manager, or npm fetches it."""
    if shutil.which(manager):
        return True
    npx = ["npx", "--yes", f"{manager}@{version}", "--version"]
    return bool(shutil.which("npx")) and not subprocess.run(npx, capture_output=True, check=False).returncode


@pytest.mark.parametrize("manager", LOCKS)
def test_a_service_with_the_lock_of_another_package_manager(
    manager: str, new_machine: Callable[[], Machine]
) -> None:
    lock, text, version = LOCKS[manager]
    if not _has(manager, version):
        pytest.skip(f"no {manager}, and npm cannot fetch it")
    described = {"name": "web", "version": "1.0.0", "private": True, "dependencies": {"ms": "2.1.3"}}
    files = {
        "compose.yaml": compose(3000),
        "Dockerfile": 'FROM node:20\nWORKDIR /app\nCOPY . .\nRUN corepack enable\nCMD ["node", "server.js"]\n',
        "package.json": json.dumps(described),
        lock: text,
        "server.js": SERVER,
    }
    body, output = pushed(new_machine(), manager, files)
    assert body == "2 minutes"
    assert f"installing from {lock}" in output


@pytest.mark.long
@pytest.mark.skipif(bool(java.without_gradle()), reason=java.without_gradle())
def test_builds_of_gradle_with_and_without_a_wrapper(new_machine: Callable[[], Machine]) -> None:
    machine = new_machine()
    files = {
        "compose.yaml": compose(8080),
        "Dockerfile": "FROM gradle:8-jdk17 AS build\nWORKDIR /src\nCOPY . .\nRUN gradle assemble --no-daemon\n"
        "FROM eclipse-temurin:17-jre\nCOPY --from=build /src/build/libs/app.jar /app.jar\n"
        'CMD ["java", "-jar", "/app.jar", "hello"]\n',
        "build.gradle": GRADLE,
        "src/main/java/shop/App.java": APP,
    }
    body, output = pushed(machine, "gradle", files)
    assert body == "hello"
    assert "building ./ with Gradle" in output
    wrapper = 'echo "the wrapper runs"\nexec gradle "$@"\n'
    body, output = pushed(machine, "gradlew", {**files, "gradlew": wrapper, "src/main/resources/x": ""})
    assert body == "hello"
    assert "the wrapper runs" in output


WRAPPER = """\
class Wrapper {
  public static void main(String[] words) throws Exception {
    var settings = new java.util.Properties();
    settings.load(new java.io.FileInputStream("gradle/wrapper/gradle-wrapper.properties"));
    System.out.println("Downloading " + settings.getProperty("distributionUrl"));
    new java.net.URL(settings.getProperty("distributionUrl")).openStream();
  }
}
"""


@pytest.mark.skipif(
    not shutil.which("javac"), reason="no javac on this machine (Debian: default-jdk-headless)"
)
def test_a_gradle_that_a_wrapper_cannot_download_is_one_error_and_the_live_release_serves(
    new_machine: Callable[[], Machine],
) -> None:
    """The wrapper does what Gradle's own does first, with the address of a server that is not there."""
    app, address = new_machine().app("wrapped"), f"http\\://127.0.0.1\\:{free_port()}/gradle.zip"
    before = app.get().body
    app.tree.commit(
        {
            "compose.yaml": compose(8080),
            "Dockerfile": "FROM gradle:8-jdk17 AS build\nWORKDIR /src\nCOPY . .\nRUN ./gradlew assemble\n"
            "FROM eclipse-temurin:17-jre\nCOPY --from=build /src/build/libs/app.jar /app.jar\n"
            'CMD ["java", "-jar", "/app.jar", "hello"]\n',
            "build.gradle": GRADLE,
            "src/main/java/shop/App.java": APP,
            "gradlew": "#!/bin/sh\nexec java gradle/wrapper/Wrapper.java\n",
            "gradle/wrapper/Wrapper.java": WRAPPER,
            "gradle/wrapper/gradle-wrapper.properties": f"distributionUrl={address}\n",
        }
    )
    assert app.pushrod("plan").ok
    refused = app.pushrod("deploy")
    assert refused.status == 5
    assert refused.err.count("pushrod: ") == 1
    assert "web: `gradlew`, the project's own wrapper, cannot start Gradle" in refused.err
    assert "distributionUrl" in refused.err
    assert "java.net.ConnectException" in refused.err
    assert (app.get().body, app.get().release) == (before, 1)

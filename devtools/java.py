"""The shop in Java on this machine: what is needed for it, its jar, and stores for its tests."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from devtools import servers
from pushrod.adapters import postgres, redis
from pushrod.adapters.postgres import Programs, Server
from pushrod.cli import scaffold
from pushrod.system import accounts, network, waits

LONGEST = 600.0  # seconds for one run of Maven; the first downloads 110 MB
QUICK = "-XX:TieredStopAtLevel=1"  # a JVM that compiles less starts and ends with half of the work
PASSWORDS = {"migrator": "migrator-9c1b", "app": "app-77aa"}
APPLICATION = "backend/src/main/java/com/example/shop/ShopApplication.java"


def lacking() -> str:
    """What this machine lacks to build it; empty if nothing."""
    missing = [program for program in ("javac", "mvn") if not shutil.which(program)]
    return (
        f"no {' and no '.join(missing)} on this machine (Debian: default-jdk-headless, maven)"
        if missing
        else ""
    )


def without_gradle() -> str:
    """What this machine lacks to build with Gradle; empty if nothing."""
    missing = [program for program in ("javac", "gradle") if not shutil.which(program)]
    return f"no {' and no '.join(missing)} on this machine (Debian: gradle)" if missing else ""


def repository(directory: Path) -> Path:
    """The output of `pushrod new shop --stack spring`."""
    scaffold.create("shop", directory, "spring")
    return directory


def maven(repository: Path, *goals: str, **environment: str) -> str:
    """Run Maven there as its Makefile does, and return its output."""
    done = subprocess.run(
        ["mvn", "--batch-mode", "--no-transfer-progress", *goals],
        cwd=repository / "backend",
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def jar(repository: Path, message: str = "") -> bytes:
    """The application, built; with a message, it greets with that one."""
    if message:
        path = repository / APPLICATION
        path.write_text(re.sub(r'(MESSAGE = ").*(";)', rf"\g<1>{message}\g<2>", path.read_text()))
    maven(repository, "package", "-Dmaven.test.skip")
    return (repository / "backend" / "target" / "app.jar").read_bytes()


@contextlib.contextmanager
def stores(directory: Path) -> Iterator[dict[str, str]]:
    """A PostgreSQL with the two accounts of an app, and two Valkey; as the variables that Spring Boot reads, for the
    account of the release command."""
    programs, data = Programs(servers.postgres_programs()[0]), directory / "data"
    account = accounts.child_account([directory, servers.postgres_programs()[0]])
    postgres.initialise(programs, data, "superuser", account)
    server = Server(programs, servers.free_port(), "superuser")
    postgres.configure(data, server.port)
    log, ports = directory / "log", [servers.free_port() for _ in range(2)]
    with contextlib.ExitStack() as stack:
        argv = postgres.server_argv(programs, data)
        stack.enter_context(servers.running(argv, account, log, postgres.STOP_SIGNAL))
        for port in ports:
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(data.parent)]
            valkey = [str(servers.redis_programs()[0]), *options]
            stack.enter_context(servers.running(valkey, account, log, redis.STOP_SIGNAL))
        postgres.ready(server, 30, log)
        assert waits.wait_until(lambda: not any(map(network.port_is_free, ports)), timeout=10), (
            log.read_text()
        )
        postgres.ensure(server, "shop", "shop", PASSWORDS, ddl=False)
        yield {
            "SPRING_DATASOURCE_URL": f"jdbc:postgresql://127.0.0.1:{server.port}/shop",
            "SPRING_DATASOURCE_USERNAME": "shop_migrator",
            "SPRING_DATASOURCE_PASSWORD": PASSWORDS["migrator"],
            "SPRING_DATA_REDIS_HOST": "127.0.0.1",
            "SPRING_DATA_REDIS_PORT": str(ports[0]),
            "CACHE_URL": f"redis://127.0.0.1:{ports[1]}/0",
        }

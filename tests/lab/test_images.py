"""The parts of the official images' interface that pushrod and its users rely on: stand-ins must have them too."""

import re
from collections.abc import Iterator

import pytest

from devtools.apps import eventually
from devtools.lab.box import Box

pytestmark = pytest.mark.lab

# The options with which stores run: an image whose entrypoint starts as root must work with these.
HARDENED = [
    "--security-opt=no-new-privileges",
    "--cap-drop=ALL",
    *(f"--cap-add={name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")),
]
POSTGRES = ("postgres:16", "postgres:18")


@pytest.fixture
def name(box: Box) -> Iterator[str]:
    """The name of the container and volume that the test makes."""
    yield "subject"
    print(box.exec("docker", "logs", "subject", check=False))
    box.exec("docker", "rm", "--force", "--volumes", "subject", check=False)
    box.exec("docker", "volume", "rm", "subject", check=False)


def _exited(box: Box, name: str) -> str:
    """Stop a container properly; returns its exit status."""
    box.docker("stop", name)
    return box.docker("inspect", "--format", "{{.State.ExitCode}}", name)


def _uid(box: Box, name: str) -> str:
    return box.docker("exec", name, "stat", "-c%u", "/proc/1")


@pytest.mark.parametrize("image", POSTGRES)
def test_postgresql_requires_a_password_for_a_new_database(box: Box, image: str) -> None:
    refused = box.exec("docker", "run", "--rm", image, check=False)
    assert refused.status == 1
    assert "POSTGRES_PASSWORD" in refused.stderr


@pytest.mark.parametrize("image", POSTGRES)
def test_postgresql_makes_user_and_database_and_keeps_them(box: Box, name: str, image: str) -> None:
    place = "/var/lib/postgresql" if image == "postgres:18" else "/var/lib/postgresql/data"
    run = ("run", "--detach", f"--name={name}", f"--volume={name}:{place}", *HARDENED)
    account = ("--env=POSTGRES_USER=ada", "--env=POSTGRES_PASSWORD=s3cret", "--env=POSTGRES_DB=shop")
    ask = ("psql", "-U", "ada", "-d", "shop", "-Atc")

    def ready() -> bool:
        # Over TCP: while the entrypoint prepares the database, the server listens only on its socket.
        return box.exec("docker", "exec", name, "pg_isready", "-h", "127.0.0.1", check=False).status == 0

    box.docker(*run, *account, image)
    eventually(ready, "PostgreSQL answers")
    assert _uid(box, name) == "999"
    assert box.docker("exec", name, *ask, "CREATE TABLE kept(); SELECT current_user") == "CREATE TABLE\nada"
    address = box.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
    for password, status in (("s3cret", 0), ("wrong", 2)):
        url = f"postgresql://ada:{password}@{address}/shop"
        tried = box.exec("docker", "exec", name, "psql", url, "-Atc", "SELECT 1", check=False)
        assert tried.status == status, tried.stderr
    assert _exited(box, name) == "0"
    box.docker("rm", name)
    box.docker(*run, image)
    eventually(ready, "PostgreSQL answers again")
    assert box.docker("exec", name, *ask, "SELECT count(*) FROM kept") == "0"


@pytest.mark.parametrize("image", POSTGRES)
def test_postgresql_can_be_set_to_trust(box: Box, name: str, image: str) -> None:
    box.docker("run", "--detach", f"--name={name}", "--env=POSTGRES_HOST_AUTH_METHOD=trust", image)
    address = box.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
    ask = ("docker", "exec", name, "psql", "-h", address, "-U", "postgres", "-Atc", "SELECT 1")
    eventually(lambda: box.exec(*ask, check=False).stdout == "1\n", "it answers without a password")


@pytest.mark.parametrize(("image", "client"), [("redis:7", "redis-cli"), ("valkey/valkey:9", "valkey-cli")])
def test_redis_accepts_options_only_and_keeps_its_data(box: Box, name: str, image: str, client: str) -> None:
    run = ("run", "--detach", f"--name={name}", f"--volume={name}:/data", *HARDENED, image)
    ask = ("exec", name, client)
    for options, kept in (
        (("--appendonly", "yes"), ""),
        (("--appendonly", "yes", "--maxmemory", "9mb"), "1"),
    ):
        box.docker(*run, *options)
        eventually(lambda: box.exec("docker", *ask, "ping", check=False).stdout == "PONG\n", "it answers")
        assert box.docker(*ask, "get", "kept") == kept
        assert box.docker(*ask, "set", "kept", "1") == "OK"
        assert _uid(box, name) == "999"
        assert _exited(box, name) == "0"
        box.docker("rm", name)


def test_nginx_serves_its_page_and_mounted_files_and_logs_to_its_output(box: Box, name: str) -> None:
    box.put(
        "/root/site/default.conf",
        "server { listen 80; location / { root /usr/share/nginx/html; } location /own { return 200 mounted; } }",
    )
    box.docker(
        *("run", "--detach", f"--name={name}", "--publish=80:80"),
        *(
            "--volume=/root/site:/etc/nginx/conf.d:ro",
            *HARDENED,
            "--cap-add=NET_BIND_SERVICE",
            "nginx:latest",
        ),
    )
    eventually(lambda: box.get_page("/own").body == b"mounted", "nginx serves")
    assert b"nginx" in box.get_page("/").body
    processes = box.docker("top", name, "-eo", "pid,user:20,args")
    assert re.search(r"root +nginx: master", processes)
    assert re.search(r"101 +nginx: worker", processes)
    logged = box.exec("docker", "logs", name)
    assert "GET /own" in logged.stdout
    assert "start worker process" in logged.stderr
    assert _exited(box, name) == "0"

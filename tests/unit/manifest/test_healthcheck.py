"""Compose's healthcheck and `x-pushrod.health` as a Health."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Health
from pushrod.manifest import healthcheck
from pushrod.manifest.document import Key


def read(
    check: object = None, own: object = None, *, probe: bool = True, name: str = "", java: bool = False
) -> tuple[Health, int]:
    return healthcheck.read(
        Key("services.web.healthcheck", check),
        Key("services.web.x-pushrod.health", own),
        probe=probe,
        name=name,
        java=java,
    )


def test_the_default_is_no_check() -> None:
    assert read() == (Health(), 0)


def test_java_has_longer_unless_something_else_is_written() -> None:
    assert read(java=True)[0].deadline == 90
    assert read(own="/healthz", java=True)[0] == Health(path="/healthz", deadline=90)
    assert read(own={"path": "/healthz", "deadline": "10s"}, java=True)[0].deadline == 10
    check = {"test": ["CMD", "true"], "interval": "5s", "retries": 2, "start_period": "2m"}
    assert read(check, java=True)[0].deadline == 130


@pytest.mark.parametrize("check", [{"disable": True}, {"test": ["NONE"]}, {"test": "NONE"}, {}])
def test_a_disabled_check_is_the_default(check: object) -> None:
    assert read(check) == (Health(), 0)


def test_a_command_has_the_deadline_that_docker_would_use() -> None:
    check = {"test": ["CMD", "python", "check.py"], "interval": "10s", "retries": 2, "start_period": "1m30s"}
    assert read(check) == (Health(command=("python", "check.py"), deadline=110, interval=0.5), 0)


def test_composes_defaults_determine_the_deadline() -> None:
    assert read({"test": ["CMD", "true"]})[0].deadline == 90


def test_a_script_is_run_by_a_shell() -> None:
    expected = ("/bin/sh", "-c", "test -f ready && test -f steady")
    assert read({"test": ["CMD-SHELL", expected[2]]})[0].command == expected
    assert read({"test": expected[2]})[0].command == expected


@pytest.mark.parametrize(
    ("test", "path", "host", "port"),
    [
        (["CMD", "curl", "-f", "http://localhost:8000/health"], "/health", "localhost:8000", 8000),
        (
            ["CMD-SHELL", "curl -fsS http://127.0.0.1:8080/health?full=1 || exit 1"],
            "/health?full=1",
            "127.0.0.1:8080",
            8080,
        ),
        ("curl --fail --max-time 3 -o /dev/null http://localhost:8000/", "/", "localhost:8000", 8000),
        ("wget -q --spider http://localhost:3000/up || exit 1", "/up", "localhost:3000", 3000),
        (
            "wget --no-verbose --tries=1 --spider http://0.0.0.0/ping > /dev/null 2>&1 || exit 1",
            "/ping",
            "0.0.0.0",
            80,
        ),
        (["CMD", "curl", "-sSfL", "localhost:8000"], "/", "localhost:8000", 8000),
        (["CMD", "curl", "-f", "-H", "Host: shop.test", "http://localhost:80/up"], "/up", "shop.test", 80),
        ("wget -qO- --header='Host: shop.test:8443' http://[::1]:3000/up", "/up", "shop.test:8443", 3000),
    ],
)
def test_a_command_that_fetches_its_own_url_becomes_a_path(
    test: object, path: str, host: str, port: int
) -> None:
    """With the host of the check's URL: under Compose that is the one that works."""
    assert read({"test": test, "retries": 1}, name="shop.example.com") == (Health(path=path, host=host), port)


@pytest.mark.parametrize("test", ["curl http://localhost:8000/", "curl -sI localhost:8000/ || exit 1"])
def test_curl_without_fail_accepts_any_status(test: str) -> None:
    assert read({"test": test})[0].any_answer


@pytest.mark.parametrize(
    "test",
    [
        ["CMD", "curl", "-f", "http://db:8000/health"],
        ["CMD", "curl", "-f", "-H", "Authorization: x", "http://localhost:8000/"],
        ["CMD", "curl", "-f", "-H", "Host: a b", "http://localhost:8000/"],
        ["CMD", "curl", "-X", "POST", "http://localhost:8000/"],
        ["CMD", "curl", "https://localhost/"],
        ["CMD", "curl", "-f", "http://localhost:8000/a", "http://localhost:8000/b"],
        "curl -f http://localhost:8000/a && curl -f http://localhost:8000/b",
        "curl -s http://localhost:8000/health | grep ok",
        "curl -f http://localhost:$$PORT/health",
        ["CMD", "python", "-c", "fetch('http://localhost:8000/health')"],
    ],
)
def test_a_more_complex_command_stays_a_command(test: object) -> None:
    health, port = read({"test": test})
    assert (health.path, port) == ("", 0)
    assert health.command


def test_an_engine_with_containers_keeps_the_command() -> None:
    assert read({"test": ["CMD", "curl", "http://localhost/"]}, probe=False)[0].command == (
        "curl",
        "http://localhost/",
    )


def test_an_explicit_path_wins_and_keeps_the_time_of_the_check() -> None:
    check = {"test": ["CMD", "true"], "interval": "5s", "retries": 4}
    assert read(check, "/healthz")[0] == Health(path="/healthz", deadline=20)
    assert read(None, "/healthz")[0] == Health(path="/healthz", deadline=30)
    assert read(check, {"path": "/up", "deadline": "2m"})[0] == Health(path="/up", deadline=120)
    assert read(None, {"path": "/up", "deadline": 7})[0] == Health(path="/up", deadline=7)


@pytest.mark.parametrize(
    ("own", "name", "host"),
    [
        ("/up", "", ""),
        ("/up", "shop.example.com", "shop.example.com"),
        ({"path": "/up", "host": "admin.shop.example.com"}, "shop.example.com", "admin.shop.example.com"),
        ({"path": "/up", "host": "[::1]:8000"}, "", "[::1]:8000"),
        ({"host": "localhost:3000"}, "shop.example.com", "localhost:3000"),
        (None, "shop.example.com", "shop.example.com"),
    ],
)
def test_the_host_name_of_the_probe_is_chosen(own: object, name: str, host: str) -> None:
    assert read(None, own, name=name)[0].host == host


def test_a_deadline_or_host_alone_keeps_the_check() -> None:
    check = {"test": ["CMD", "curl", "-f", "http://localhost:8000/up"]}
    result = Health(path="/up", host="shop.test", deadline=120)
    assert read(check, {"deadline": "2m", "host": "shop.test"})[0] == result
    assert read({"test": ["CMD", "true"]}, {"deadline": 7})[0].command == ("true",)


@pytest.mark.parametrize(
    ("check", "own", "where", "what"),
    [
        *(
            (
                None,
                {"path": "/", "host": host},
                "services.web.x-pushrod.health.host",
                "expected a host name such as shop.example.com, or one with a port, found "
                + (f"`{host}` (text)" if host else "nothing"),
            )
            for host in ("http://shop.test", "a b", "shop.test/x", "a\r\nX: y", "shop.test:http", "")
        ),
        (None, 3, "services.web.x-pushrod.health", "expected a path such as /healthz, found 3 (a number)"),
        (
            None,
            "healthz",
            "services.web.x-pushrod.health",
            "expected a path such as /healthz, found `healthz` (text)",
        ),
        (
            None,
            "/a b",
            "services.web.x-pushrod.health",
            "expected a path such as /healthz, found `/a b` (text)",
        ),
        (None, {"path": "/", "dedline": 1}, "services.web.x-pushrod.health.dedline", "unknown key `dedline`"),
        (
            {"test": ["curl", "x"]},
            None,
            "services.web.healthcheck.test",
            "expected a list that begins with CMD, CMD-SHELL or NONE, found a list",
        ),
    ],
)
def test_invalid_values_are_refused(check: object, own: object, where: str, what: str) -> None:
    with pytest.raises(ManifestError) as refused:
        read(check, own)
    assert (refused.value.where, refused.value.what) == (where, what)

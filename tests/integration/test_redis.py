"""The Redis adapter with real servers: the wheel's Valkey, and Debian's Redis if installed."""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from devtools import servers
from pushrod.adapters import redis
from pushrod.core.errors import StoreError
from pushrod.stores import redis_restoring
from pushrod.stores.kinds import LocalStore
from pushrod.system import accounts, network, waits

pytestmark = pytest.mark.integration

PASSWORDS = {"app": "app-77aa", "health": "health-01cd"}


@dataclass
class Store:
    """A store with a directory, a port and an account; running or not."""

    program: Path
    directory: Path
    port: int
    account: accounts.Account | None

    @property
    def log(self) -> Path:
        return self.directory.with_name("log")

    def configure(self, passwords: dict[str, str] = PASSWORDS) -> bool:
        return redis.configure(self.directory, self.port, passwords, self.account)

    def argv(self) -> tuple[str, ...]:
        return redis.server_argv(self.program, self.directory)

    def ready(self) -> None:
        redis.ready(self.port, redis.HEALTH_USER, PASSWORDS["health"], 30, self.log)

    def app(self, *words: str) -> redis.Reply:
        return redis.command(self.port, redis.APP_USER, PASSWORDS["app"], *words)


def new_store(program: Path, directory: Path) -> Store:
    store = directory / 'a "store"'
    store.mkdir()
    return Store(program, store, servers.free_port(), accounts.child_account([directory, program]))


@pytest.fixture(scope="module", params=servers.redis_programs(), ids=lambda p: p.name)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = new_store(request.param, tmp_path_factory.mktemp("redis"))
    store.configure()
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL):
        store.ready()
        yield store


def test_the_version_is_the_one_of_the_running_server(store: Store) -> None:
    info = store.app("INFO", "server")
    assert isinstance(info, str)
    version = redis.version(store.program)
    assert f"redis_version:{version}" in info or f"valkey_version:{version}" in info


def test_the_settings_are_applied(store: Store) -> None:
    info = store.app("INFO")
    assert isinstance(info, str)
    lines = info.split("\r\n")
    assert "aof_enabled:1" in lines
    assert "maxmemory_policy:noeviction" in lines
    assert f"tcp_port:{store.port}" in lines
    assert (store.directory / "data" / "appendonlydir").is_dir()


def test_only_writable_files_belong_to_the_account(store: Store) -> None:
    if store.account is None:
        pytest.skip("the servers run as ourselves")
    owners = {p.name: p.stat().st_uid for p in store.directory.iterdir()}
    uid = store.account.uid
    assert owners == {"data": uid, "users.acl": uid, "valkey.conf": 0, "local.conf": 0}


@pytest.mark.parametrize("password", ["", "app-77aa", "anything"])
def test_the_default_user_is_refused(store: Store, password: str) -> None:
    with pytest.raises(StoreError, match="WRONGPASS"):
        redis.command(store.port, "default", password, "PING")


def test_a_wrong_password_is_reported_at_once(store: Store) -> None:
    with pytest.raises(StoreError, match="not ready: WRONGPASS") as caught:
        redis.ready(store.port, redis.HEALTH_USER, "wrong", 600, store.log)
    assert caught.value.log


@pytest.mark.parametrize(
    "line",
    [
        "SET k 1",
        "EXPIRE k 100",
        "KEYS *",
        "SCAN 0",
        "LPUSH list a",
        "SORT list ALPHA",
        "XADD stream * a 1",
        "XGROUP CREATE stream workers $ MKSTREAM",
        "PUBLISH channel x",
        "EVAL return{KEYS[1]} 1 k",
        "MULTI",
        "INFO",
        "CLIENT SETNAME app",
        "CLIENT LIST",
        "ROLE",
        "WAIT 0 1",
        "SELECT 5",
        "MEMORY USAGE k",
        "COMMAND COUNT",
        "FLUSHDB",
    ],
)
def test_the_app_may_run_ordinary_commands(store: Store, line: str) -> None:
    store.app(*line.split())


@pytest.mark.parametrize(
    "line",
    [
        "CONFIG GET dir",
        "CONFIG SET dir /tmp",
        "SHUTDOWN NOSAVE",
        "DEBUG SLEEP 0",
        "FLUSHALL",
        "ACL LIST",
        "ACL SETUSER default on nopass",
        "MONITOR",
        "MODULE LIST",
        "REPLICAOF 127.0.0.1 1",
        "SAVE",
        "BGREWRITEAOF",
        "SLOWLOG GET",
        "CLIENT KILL TYPE normal",
        "CLIENT PAUSE 1",
        "MIGRATE 127.0.0.1 1 k 0 1",
    ],
)
def test_the_app_may_not_administer_the_server(store: Store, line: str) -> None:
    with pytest.raises(StoreError, match=r"NOPERM|DEBUG command not allowed"):
        store.app(*line.split())


@pytest.mark.parametrize("line", ["GET k", "SET k 1", "KEYS *", "PUBLISH c x", "CONFIG GET dir", "ACL LIST"])
def test_the_health_user_sees_no_data(store: Store, line: str) -> None:
    redis.command(store.port, redis.HEALTH_USER, PASSWORDS["health"], "INFO")
    with pytest.raises(StoreError, match="NOPERM"):
        redis.command(store.port, redis.HEALTH_USER, PASSWORDS["health"], *line.split())


def test_changed_passwords_apply_without_a_restart(store: Store) -> None:
    assert store.configure(PASSWORDS | {"app": "new"})
    redis.command(store.port, redis.HEALTH_USER, PASSWORDS["health"], "ACL", "LOAD")
    try:
        assert redis.command(store.port, "app", "new", "PING") == "PONG"
        with pytest.raises(StoreError, match="WRONGPASS"):
            store.app("PING")
    finally:
        store.configure()
        redis.command(store.port, redis.HEALTH_USER, PASSWORDS["health"], "ACL", "LOAD")
    assert store.app("PING") == "PONG"


def test_no_password_is_in_a_file_or_the_log(store: Store) -> None:
    files = [p for p in store.directory.iterdir() if p.is_file()] + [store.log]
    assert not [p for p in files for secret in PASSWORDS.values() if secret in p.read_text()]


def test_acknowledged_data_survives_kill_9(tmp_path: Path) -> None:
    store = new_store(servers.redis_programs()[0], tmp_path)
    store.configure()
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL) as child:
        store.ready()
        for n in range(100):
            store.app("RPUSH", "orders", str(n))
        # WAITAOF returns after its own fsync: the second that `everysec` may take is over.
        assert store.app("WAITAOF", "1", "0", "10000") == [1, 0]
        child.kill()
        child.wait()
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL):
        store.ready()
        assert store.app("LRANGE", "orders", "0", "-1") == [str(n) for n in range(100)]


def test_the_stop_signal_saves_everything(tmp_path: Path) -> None:
    store = new_store(servers.redis_programs()[0], tmp_path)
    store.configure()
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL) as child:
        store.ready()
        store.app("SET", "last", "word")
        child.terminate()
        assert child.wait(20) == 0
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL):
        store.ready()
        assert store.app("GET", "last") == "word"


def test_the_users_own_settings_take_precedence(tmp_path: Path) -> None:
    store = new_store(servers.redis_programs()[0], tmp_path)
    (store.directory / "local.conf").write_text("maxmemory 64mb\nmaxmemory-policy allkeys-lru\n")
    store.configure()
    with servers.running(store.argv(), store.account, store.log, redis.STOP_SIGNAL):
        store.ready()
        info = store.app("INFO", "memory")
    assert isinstance(info, str)
    assert "maxmemory_policy:allkeys-lru" in info
    assert "maxmemory:67108864" in info


SQUATTER = """\
#!{python}
import os, re, socket, sys, threading
port = int(re.search(r"port ([0-9]+)", open(sys.argv[1]).read())[1])
os.setuid(65534)
listening = socket.create_server(("127.0.0.1", port))


def serve():
    while True:
        client = listening.accept()[0]
        while client.recv(4096):
            client.sendall(b"+OK\\r\\n")


threading.Thread(target=serve, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be another account")
def test_a_snapshot_is_not_restored_from_a_server_of_another_account(tmp_path: Path) -> None:
    """Another account has taken the port of the server beside it, and would be the data."""
    program = tmp_path / "server"
    program.write_text(SQUATTER.format(python=sys.executable))
    program.chmod(0o755)
    parts = SimpleNamespace(redis=program)
    store = LocalStore("shop", "redis", 1, tmp_path, tmp_path / "log", parts, None, str)  # type: ignore[arg-type]
    with (
        pytest.raises(StoreError, match="cannot load the snapshot"),
        redis_restoring.loading_here(store, io.BytesIO(b"REDIS")),
    ):
        pytest.fail("it was taken for ours")


def test_an_exporters_user_reads_figures_and_nothing_of_the_app() -> None:
    """As `stores/redis_driver.py` makes it in a container."""
    program = servers.redis_programs()[0]
    with contextlib.ExitStack() as stack:
        port, place = servers.free_port(), Path(stack.enter_context(tempfile.TemporaryDirectory()))
        argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", place]
        child = subprocess.Popen([*map(str, argv), "--requirepass", "own"], stdout=subprocess.DEVNULL)
        stack.callback(child.wait)
        stack.callback(child.terminate)
        assert waits.wait_until(lambda: network.accepts(port), 20)

        def ask(user: str, password: str, *words: str) -> redis.Reply:
            return redis.command(port, user, password, *words)

        digest = hashlib.sha256(b"figures").hexdigest()
        rules = ("reset", "on", f"#{digest}", *redis.WATCHING.split())
        ask("default", "own", "SET", "key", "secret")
        ask("default", "own", "ACL", "SETUSER", redis.WATCHING_USER, *rules)
        assert "used_memory" in str(ask(redis.WATCHING_USER, "figures", "INFO", "all"))
        for words in ("GET key", "KEYS *", "SCAN 0", "CONFIG GET *", "ACL LIST", "MONITOR", "EVAL return 0"):
            with pytest.raises(StoreError, match="NOPERM"):
                ask(redis.WATCHING_USER, "figures", *words.split())
        ask("default", "own", "ACL", "DELUSER", redis.WATCHING_USER)
        with pytest.raises(StoreError, match="WRONGPASS"):
            ask(redis.WATCHING_USER, "figures", "PING")

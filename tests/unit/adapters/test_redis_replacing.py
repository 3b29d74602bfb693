"""Taking over the data of another server: what is asked, in which order, and what is refused."""

import pytest

from pushrod.adapters import redis_replacing as replacing
from pushrod.core.errors import StoreError

GOOD = {"loading": "0", "aof_rewrite_in_progress": "0", "aof_enabled": "1", "aof_last_bgrewrite_status": "ok"}


class Server:
    """A server that follows another one at once, and says that its disk is as `persistence`."""

    def __init__(
        self, keys: int, expires: int = 0, persistence: dict[str, str] = GOOD, link: str = "up"
    ) -> None:
        self.keys, self.expires, self.persistence, self.link = keys, expires, persistence, link
        self.asked: list[str] = []
        self.other: Server | None = None

    def __call__(self, *words: str) -> str:
        self.asked.append(" ".join(words))
        match words:
            case ("INFO", "keyspace"):
                return f"# Keyspace\r\ndb0:keys={self.keys},expires={self.expires},avg_ttl=0\r\n"
            case ("INFO", "replication"):
                return f"# Replication\r\nmaster_link_status:{self.link}\r\nmaster_sync_in_progress:0\r\n"
            case ("INFO", "persistence"):
                return "# Persistence\r\n" + "".join(f"{n}:{v}\r\n" for n, v in self.persistence.items())
            case ("REPLICAOF", "10.0.0.1", "7000") if self.other:
                self.keys, self.expires = self.other.keys, self.other.expires
        return "OK\r\n"


def replaced(live: Server, other: Server, *, takes: bool = True) -> None:
    live.other = other if takes else None
    replacing.replace(live, other, "10.0.0.1", 7000, 0.01)


def test_the_data_is_taken_over_and_the_server_is_its_own_master_again() -> None:
    live, other = Server(3), Server(9, 4)
    replaced(live, other)
    assert replacing.keys(live) == 9
    assert [w for w in live.asked if w.startswith("REPLICAOF")] == [
        "REPLICAOF 10.0.0.1 7000",
        "REPLICAOF NO ONE",
    ]
    assert "BGSAVE" not in live.asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("live", "takes", "what"),
    [
        (Server(3, link="down"), True, "in time"),
        (Server(3), False, "other keys"),
        (Server(3, persistence={**GOOD, "aof_last_bgrewrite_status": "err"}), True, "could not write it"),
        (Server(3, persistence={**GOOD, "aof_rewrite_in_progress": "1"}), True, "could not write it"),
    ],
)
def test_what_goes_wrong_leaves_no_follower(live: Server, takes: bool, what: str) -> None:
    with pytest.raises(StoreError, match=what):
        replaced(live, Server(9), takes=takes)
    assert "REPLICAOF NO ONE" in live.asked


def test_a_server_without_an_append_only_file_writes_a_snapshot() -> None:
    live = Server(3, persistence={**GOOD, "aof_enabled": "0", "rdb_last_bgsave_status": "ok"})
    replaced(live, Server(9))
    assert "BGSAVE" in live.asked


def test_only_keys_that_do_not_expire_are_compared() -> None:
    assert replacing.lasting(Server(9, 4)) == {"keys that do not expire": 5}


@pytest.mark.parametrize(
    "output", ["", "ERR unknown command", "NOAUTH Authentication required.", "LOADING x"]
)
def test_a_refusal_that_a_client_prints_is_an_error(output: str) -> None:
    with pytest.raises(StoreError):
        replacing.answer(output, ("INFO", "keyspace"), "container x")
    assert replacing.answer("# Keyspace\r\n", ("INFO", "keyspace"), "container x")


def test_a_server_that_loads_is_not_ready() -> None:
    assert replacing.loaded(Server(1))
    assert not replacing.loaded(Server(1, persistence={"loading": "1"}))

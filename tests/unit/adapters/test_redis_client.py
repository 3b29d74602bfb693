import io
import sys

import pytest

from pushrod.adapters import redis, redis_client
from pushrod.adapters.redis_client import shown
from pushrod.core.errors import StoreError


@pytest.mark.parametrize(
    ("reply", "lines"),
    [
        ("OK", ["OK"]),
        ("", [""]),
        (7, ["(integer) 7"]),
        (None, ["(nil)"]),
        ([], ["(empty array)"]),
        (["a", 2, None], ["1) a", "2) (integer) 2", "3) (nil)"]),
        (["a", ["b", ["c", "d"]]], ["1) a", "2) 1) b", "   2) 1) c", "      2) d"]),
        ("\x1b[31mred", ["\\x1b[31mred"]),
        ("two\r\nlines", ["two", "lines"]),
    ],
)
def test_replies_are_shown_as_by_redis_cli(reply: redis.Reply, lines: list[str]) -> None:
    assert list(shown(reply)) == lines


def test_an_error_of_the_server_does_not_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*_words: object, **_named: object) -> redis.Reply:
        raise StoreError("ERR \x1b]0;title\x07 of a script")

    monkeypatch.setattr(redis, "command", command)
    monkeypatch.setattr(sys, "stdin", io.StringIO("eval x 0\n"))
    monkeypatch.setenv("REDISCLI_USER", "app")
    monkeypatch.setenv("REDISCLI_AUTH", "x")
    assert redis_client.main("127.0.0.1", 1) == 1
    assert capsys.readouterr().out == "(error) ERR \\x1b]0;title\\x07 of a script\n"

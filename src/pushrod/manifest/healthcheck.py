"""Compose's healthcheck, or `x-pushrod.health`, as pushrod's `Health`. Pure."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pushrod.core.patterns import lazy
from pushrod.core.values import Health
from pushrod.manifest.document import Key

# Compose's own defaults (https://docs.docker.com/reference/compose-file/05-services/#healthcheck), in seconds.
_INTERVAL, _START_PERIOD, _RETRIES = 30.0, 0.0, 3
_JAVA_DEADLINE = 90.0  # seconds: a JVM that starts beside another one on two processors needs up to a minute
_SHELL = ("/bin/sh", "-c")
_COMMAND_INTERVAL = 0.5  # seconds between two runs of a check that starts a process
_PATH = lazy(r"/[!-~]*")
_OWN_URL = lazy(r"(?:http://)?((?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(\d{1,5}))?)(/[!-~]*)?")
_HOST = lazy(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_FETCHERS = ("curl", "wget")
_FLAGS = lazy(
    r"-[fsSqLgkiI]+|-nv|-O-|-qO-|--(fail|silent|show-error|quiet|spider|location|head|no-verbose|insecure"
    r"|no-check-certificate|(tries|timeout|max-time|connect-timeout|output|output-document)=\S+)"
)
_FLAGS_WITH_VALUE = lazy(
    r"-[moOTt]|-qO|-[fsSqLgkiI]+o|--(max-time|connect-timeout|output|output-document|retry)"
)
_FAILS = lazy(r"-[sSqLgkiI]*f[fsSqLgkiIo]*|--fail")  # without it curl succeeds with any status


class _Fetch(NamedTuple):
    """The request made by a check that only fetches a URL of the service itself."""

    path: str
    port: int
    host: str
    any_answer: bool


def read(check: Key, own: Key, *, probe: bool, name: str = "", java: bool = False) -> tuple[Health, int]:
    """The health check of a service, and the port that it names (0: none).

    `name` is the app's own name, used as the Host header; empty if it has none. `check` is Compose's `healthcheck`,
    `own` is `x-pushrod.health`, which takes precedence. With `probe`, a check that only fetches a URL of the
    service itself (`curl -f http://localhost:8000/health`) becomes that path: requesting it needs no curl on the
    host and takes a millisecond. Without `probe`, the container's own check runs, and a `healthcheck` without
    `test` still sets the deadline of the image's own. A program in `java` has longer until the deadline that nobody
    wrote. Raises ManifestError.
    """
    argv = _check(check)
    fetch = _fetched(argv) if probe else None
    timed = argv or (not probe and check.given and not check.get("disable").yes())
    deadline = _deadline(check) if timed else _JAVA_DEADLINE if java else Health().deadline
    port = fetch.port if fetch else 0
    keys = own if isinstance(own.value, dict) else Key(own.path, None)
    keys.only("path", "host", "deadline")
    deadline, host = keys.get("deadline").seconds(deadline), _host(keys.get("host"))
    path = _path(own if own.given and keys.value is None else keys.get("path"))
    if path:
        return Health(path=path, host=host or name, deadline=deadline), port
    if fetch:
        health = Health(path=fetch.path, host=host or fetch.host, any_answer=fetch.any_answer)
        return msgspec.structs.replace(health, deadline=deadline), port
    if argv:
        return Health(command=argv, deadline=deadline, interval=_COMMAND_INTERVAL), port
    return Health(host=host or name, deadline=deadline), port


def own_port(check: Key) -> int:
    """The port of the URL of the service itself that its check fetches, if that is all it does; 0 otherwise."""
    fetch = _fetched(_check(check))
    return fetch.port if fetch else 0


def _path(key: Key) -> str:
    if not key.given:
        return ""
    if not isinstance(key.value, str) or not _PATH.fullmatch(key.value):
        key.wrong("a path such as /healthz")
    return key.value


def _host(key: Key) -> str:
    if not key.given:
        return ""
    if not isinstance(key.value, str) or not _HOST.fullmatch(key.value):
        key.wrong("a host name such as shop.example.com, or one with a port")
    return key.value


def _deadline(check: Key) -> float:
    """The time after which Docker would call a container unhealthy."""
    start = check.get("start_period").seconds(_START_PERIOD)
    interval = check.get("interval").seconds(_INTERVAL) or _INTERVAL
    return start + interval * (check.get("retries").whole(_RETRIES) or _RETRIES)


def _check(check: Key) -> tuple[str, ...]:
    """The argv of Compose's check; empty if it has none."""
    test = check.get("test")
    if check.get("disable").yes() or not test.given:
        return ()
    match ("CMD-SHELL", test.text()) if isinstance(test.value, str) else test.words():
        case () | ("NONE", *_) | ("CMD-SHELL", "NONE"):
            argv: tuple[str, ...] = ()
        case ("CMD", _, *_) as words:
            argv = words[1:]
        case ("CMD-SHELL", script):
            argv = (*_SHELL, script)
        case _:
            test.wrong("a list that begins with CMD, CMD-SHELL or NONE")
    return argv


def _plain(script: str) -> tuple[str, ...]:
    """The words of a script that is one plain command, optionally followed by `|| exit 1`; empty for any other."""
    command = re.sub(r"\s*\|\|\s*(exit\s+\d+|false)\s*;?\s*$", "", script)
    command = re.sub(r"\s*(?:1?>\s*/dev/null|2>\s*(?:&1|/dev/null)|&>\s*/dev/null)", "", command)
    if re.search(r"[|&;<>()$`\n]", command):
        return ()
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


def _fetched(argv: tuple[str, ...]) -> _Fetch | None:
    """The request this argv makes, if all it does is to fetch a URL of the service itself."""
    argv = _plain(argv[2]) if argv[:2] == _SHELL else argv
    if not argv or argv[0].rpartition("/")[2] not in _FETCHERS:
        return None
    urls: list[re.Match[str]] = []
    host, fails = "", argv[0].endswith("wget")
    words = iter(argv[1:])
    for word in words:
        fails = fails or _FAILS.fullmatch(word) is not None
        if (header := _header(word, words)) is not None:
            if not header:
                return None
            host = header
        elif _FLAGS_WITH_VALUE.fullmatch(word):
            next(words, "")
        elif url := _OWN_URL.fullmatch(word):
            urls.append(url)
        elif not _FLAGS.fullmatch(word):
            return None
    if len(urls) != 1:
        return None
    return _Fetch(urls[0][3] or "/", int(urls[0][2] or 80), host or urls[0][1], any_answer=not fails)


def _header(word: str, words: Iterator[str]) -> str | None:
    """The Host header set by a word of an argv, possibly with the next word; empty for any other header, and None
    if the word sets no header."""
    name, equals, value = word.partition("=")
    if name not in ("-H", "--header"):
        return None
    text = value if equals else next(words, "")
    header, _, host = text.partition(":")
    return host.strip() if header.lower() == "host" and _HOST.fullmatch(host.strip()) else ""

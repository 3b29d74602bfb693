"""Compose's healthcheck, or `x-pushrod.health`, as pushrod's `Health`. Pure."""

import re
import shlex

from pushrod.manifest.document import Key
from pushrod.values import Health

# Compose's own defaults (https://docs.docker.com/reference/compose-file/05-services/#healthcheck), in seconds.
_INTERVAL, _START_PERIOD, _RETRIES = 30.0, 0.0, 3
_COMMAND_INTERVAL = 0.5  # seconds between two runs of a check that starts a process each time
_PATH = re.compile(r"/[!-~]*")
_OWN_URL = re.compile(r"(?:http://)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(\d{1,5}))?(/[!-~]*)?")
_FETCHERS = ("curl", "wget")
_FLAGS = re.compile(
    r"-[fsSqLgkiI]+|-nv|-O-|-qO-|--(fail|silent|show-error|quiet|spider|location|head|no-verbose|insecure"
    r"|no-check-certificate|(tries|timeout|max-time|connect-timeout|output|output-document)=\S+)"
)
_FLAGS_WITH_VALUE = re.compile(
    r"-[moOTt]|-qO|-[fsSqLgkiI]+o|--(max-time|connect-timeout|output|output-document|retry)"
)


def read(check: Key, own: Key, *, probe: bool) -> tuple[Health, int]:
    """How a service proves itself, and the port that its check names (0: none).

    `check` is Compose's `healthcheck`, `own` is `x-pushrod.health`, which wins. With `probe`, a check that only
    fetches a URL of the service itself (`curl -f http://localhost:8000/health`) becomes that path: asking it
    needs no curl on the host and takes a millisecond. Without it, what runs is the container's own check, and a
    `healthcheck` that gives no `test` still says how long the image's own has. Raises ManifestError.
    """
    check_path, command, port = _check(check, probe)
    timed = check_path or command or (not probe and check.given and not check.get("disable").yes())
    deadline = _deadline(check) if timed else Health().deadline
    if own.given:
        path, deadline = _own(own, deadline)
        return Health(path=path, deadline=deadline), port
    if check_path:
        return Health(path=check_path, deadline=deadline), port
    if command:
        return Health(command=command, deadline=deadline, interval=_COMMAND_INTERVAL), port
    return Health(deadline=deadline), port


def _own(own: Key, deadline: float) -> tuple[str, float]:
    key = own
    if isinstance(own.value, dict):
        own.only("path", "deadline")
        key, deadline = own.get("path"), own.get("deadline").seconds(deadline)
        if not key.given:
            return "", deadline
    if not isinstance(key.value, str) or not _PATH.fullmatch(key.value):
        key.wrong("a path such as /healthz")
    return key.value, deadline


def _deadline(check: Key) -> float:
    """As long as Docker would wait before it calls a container unhealthy."""
    start = check.get("start_period").seconds(_START_PERIOD)
    interval = check.get("interval").seconds(_INTERVAL) or _INTERVAL
    return start + interval * (check.get("retries").whole(_RETRIES) or _RETRIES)


def _check(check: Key, probe: bool) -> tuple[str, tuple[str, ...], int]:
    """The path, or else the argv, that Compose's check comes down to, and the port it names."""
    test = check.get("test")
    if check.get("disable").yes() or not test.given:
        return "", (), 0
    words = ("CMD-SHELL", test.text()) if isinstance(test.value, str) else test.words()
    match words:
        case () | ("NONE", *_) | ("CMD-SHELL", "NONE"):
            return "", (), 0
        case ("CMD", _, *_):
            argv = words[1:]
            fetch = argv
        case ("CMD-SHELL", script):
            argv = ("/bin/sh", "-c", script)
            fetch = _plain(script)
        case _:
            test.wrong("a list that begins with CMD, CMD-SHELL or NONE")
    found = _fetched(fetch) if probe else None
    return ("", argv, 0) if found is None else (found[0], (), found[1])


def _plain(script: str) -> tuple[str, ...]:
    """The words of a script that is one plain command, perhaps with `|| exit 1` after it; else nothing."""
    command = re.sub(r"\s*\|\|\s*(exit\s+\d+|false)\s*;?\s*$", "", script)
    command = re.sub(r"\s*(?:1?>\s*/dev/null|2>\s*(?:&1|/dev/null)|&>\s*/dev/null)", "", command)
    if re.search(r"[|&;<>()$`\n]", command):
        return ()
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


def _fetched(argv: tuple[str, ...]) -> tuple[str, int] | None:
    """Path and port of the service's own URL, if fetching that is all this argv does."""
    if not argv or argv[0].rpartition("/")[2] not in _FETCHERS:
        return None
    urls: list[re.Match[str]] = []
    words = iter(argv[1:])
    for word in words:
        if _FLAGS_WITH_VALUE.fullmatch(word):
            next(words, "")
        elif url := _OWN_URL.fullmatch(word):
            urls.append(url)
        elif not _FLAGS.fullmatch(word):
            return None
    if len(urls) != 1:
        return None
    return urls[0][2] or "/", int(urls[0][1] or 80)

"""Messages of Docker and the kernel about what does not start, and their meaning."""

import pytest

from pushrod.adapters import start_failures

TASK = "failed to create task for container: failed to create shim task: "
BEFORE = "OCI runtime create failed: runc create failed: unable to start container process: "
INIT = f"{BEFORE}error during container init: "
MOUNTING = 'error mounting "/etc" to rootfs at "/x/y": mount /etc:/x/y (via /proc/self/fd/6), flags: 0x5000: '

MESSAGES = {
    f'{BEFORE}exec: "nope": executable file not found in $PATH: unknown': "`nope` is not in the image: it is in no",
    f'{TASK}{BEFORE}exec: "/x/nope": stat /x/nope: no such file or directory: unknown': "`/x/nope` is not in",
    f'{TASK}{BEFORE}exec: "/x/y": permission denied: unknown': "`/x/y` may not be run",
    f'{TASK}{BEFORE}exec: "/app": is a directory: unknown: permission denied': "`/app` may not be run",
    "unable to find user nobodyhere: no matching entries in passwd file": "the image has no user `nobodyhere`",
    f"{INIT}{MOUNTING}not a directory: unknown: Are you trying": "/x/y is a file on one side and a directory on the",
    f"{INIT}{MOUNTING}permission denied": "/etc cannot be mounted at /x/y: mount /etc:/x/y",
    'invalid mount config for type "bind": bind source path does not exist: /nope': "/nope is to be mounted",
    "Cannot mkdir: /app/app.py is not a directory": "the working directory /app/app.py is not a directory",
    f'{INIT}chdir to cwd ("/root/x") set in config.json failed: permission denied': "its user has no access to the",
    f"{INIT}error setting rlimits for ready process: error setting rlimit type 7: operation": "the host does not",
    f"{INIT}open /proc/sys/net/core/nope: no such file or directory: unknown": "`sysctls` sets net/core/nope",
    'error gathering device information while adding custom device "/dev/nope": no such': "the device /dev/nope is",
    "no matching manifest for linux/amd64 in the manifest list entries": "the image is for another processor",
}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_cause_is_found_in_dockers_message(message: str) -> None:
    for words in (message, f"shop-r2-web-1: {message}", f"Error response from daemon: {message}"):
        cause = start_failures.find(words)
        assert cause
        assert cause.what.startswith(MESSAGES[message])
        assert cause.hint


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("exec /x/odd: no such file or directory", "`/x/odd` exists, but its interpreter does not"),
        ("exec /x/arm: exec format error", "`/x/arm` cannot run on this host"),
        ("exec /x/y: permission denied", "`/x/y` may not be run by the container's user"),
    ],
)
def test_a_cause_is_found_in_the_last_line_of_a_log(line: str, what: str) -> None:
    cause = start_failures.of_log(("another line", line))
    assert cause
    assert cause.what.startswith(what)
    assert start_failures.of_log((line, "and the program went on")) is None


def test_an_apps_own_output_is_no_cause() -> None:
    assert start_failures.of_log(('Traceback: exec: "x": executable file not found in $PATH',)) is None
    assert (
        start_failures.find("web-1 ended with status 1", ("OSError: [Errno 98] Address already in use",))
        is None
    )


def test_an_unknown_message_is_reported_without_dockers_prefixes() -> None:
    message = f"shop-r2-web-1: {TASK}{BEFORE}something new: unknown"
    assert start_failures.find(message) is None
    assert start_failures.plain(message) == "shop-r2-web-1: something new"

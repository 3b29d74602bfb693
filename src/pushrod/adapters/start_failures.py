"""Why a container was not started or ended at once, with a way to fix it. Pure.

Docker passes on the message of the lower-level runtime, behind three names of its own layers. For a program that ends
right after its start, the only clue is one line in its log with the kernel's refusal.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_LAYERS = re.compile(
    r"(?:Error response from daemon: |failed to create (?:shim )?task(?: for container)?: |OCI runtime \w+ failed: "
    r"|runc \w+ failed: |unable to start container process: |error during container init: )+"
)
_END = re.compile(r": unknown(?=$|: Are you trying)")


class Cause(NamedTuple):
    """A cause, and how to fix it."""

    what: str
    hint: str


_CAUSES = (
    (
        r'exec: "([^"]*)": executable file not found in \$PATH',
        "`{0}` is not in the image: it is in no directory of PATH",
        "`command` and `entrypoint` name a program and its arguments: correct the name, or install it in the image",
    ),
    (
        r'exec: "([^"]*)": (?:stat [^:]+: )?no such file or directory',
        "`{0}` is not in the image",
        "COPY it in the Dockerfile, or correct the path; a mount over its directory hides it",
    ),
    (
        r'exec: "([^"]*)": (?:permission denied|is a directory)',
        "`{0}` may not be run: it is not executable, or a directory",
        "git update-index --chmod=+x FILE and commit, or RUN chmod +x in the Dockerfile",
    ),
    (
        r"unable to find user ([^:]+): no matching entries in passwd file",
        "the image has no user `{0}`",
        "`user` and the Dockerfile's USER name one that is in its /etc/passwd, or a number",
    ),
    (
        r"unable to find group ([^:]+): no matching entries in group file",
        "the image has no group `{0}`",
        "`user` and the Dockerfile's USER name one that is in its /etc/group, or a number",
    ),
    (
        r'error mounting "([^"]*)" to rootfs at "([^"]*)".*not a directory',
        "{1} is a file on one side and a directory on the other: {0} cannot be mounted there",
        "mount a directory on a directory, a file on a file; a source not tracked by Git is created as a directory",
    ),
    (
        r'error mounting "([^"]*)" to rootfs at "([^"]*)": (.*)',
        "{0} cannot be mounted at {1}: {2}",
        "correct the service's `volumes`",
    ),
    (
        r"bind source path does not exist: (\S+)",
        "{0} is to be mounted, but does not exist on the host",
        "create it there, or mount a path of the repository",
    ),
    (
        r"Cannot mkdir: (\S+) is not a directory"
        r"|chdir to cwd \(\"([^\"]+)\"\)[^:]*: (?:not a directory|no such file.*)",
        "the working directory {0} is not a directory in the image",
        "correct `working_dir`, or the Dockerfile's WORKDIR",
    ),
    (
        r"chdir to cwd \(\"([^\"]+)\"\).*permission denied",
        "its user has no access to the working directory {0}",
        "correct `user`, or the rights of that directory in the Dockerfile",
    ),
    (
        r"error setting rlimits? .*",
        "the host does not allow the limits that `ulimits` asks for",
        "lower them",
    ),
    (
        r"open /proc/sys/(\S+): (?:no such file or directory|permission denied)",
        "`sysctls` sets {0}, which containers on this host do not have",
        "remove it",
    ),
    (
        r'error gathering device information while adding custom device "([^"]+)"',
        "the device {0} is not on the host",
        "remove it from `devices`",
    ),
    (
        r"argument list too long",
        "its command and environment are larger than the kernel allows",
        "a variable has at most 128 KB: mount a large one as a file (`secrets`, `configs`)",
    ),
    (
        r"does not match the (?:specified|detected) (?:host )?platform|no matching manifest for ",
        "the image is for another processor than this host's",
        "name an image that supports it (docker image inspect shows an image's platform), or build it on this host",
    ),
)

# Refusals by the kernel after the container's own start, as the last line of its log.
_REFUSED = (
    (
        r"exec (\S+): no such file or directory",
        "`{0}` exists, but its interpreter does not: its first line (#!) names a program that is not in the image",
        "correct that line, or install the program; with a CRLF line end the line names another program",
    ),
    (
        r"exec (\S+): exec format error",
        "`{0}` cannot run on this host: it is for another processor, or a script without a first line (#!)",
        "build it for this host's processor (uname -m), or begin the script with a line such as #!/bin/sh",
    ),
    (
        r"exec (\S+): permission denied",
        "`{0}` may not be run by the container's user",
        "give it the right in the Dockerfile (RUN chmod a+rx), or correct `user`",
    ),
)


def plain(output: str) -> str:
    """Docker's message without the names of the layers between it and the kernel."""
    return _END.sub("", _LAYERS.sub("", output.strip()))


def find(output: str, log: Sequence[str] = ()) -> Cause | None:
    """The known cause in Docker's message or at the end of a container's log; None for any other."""
    for pattern, what, hint in _CAUSES:
        if match := re.search(pattern, output):
            return Cause(what.format(*filter(None, match.groups())), hint)
    return of_log(log)


def of_log(log: Sequence[str]) -> Cause | None:
    """The known cause in the last line of a container's log: the kernel refused to run its program."""
    for pattern, what, hint in _REFUSED:
        if log and (match := re.fullmatch(pattern, log[-1].strip())):
            return Cause(what.format(match[1]), hint)
    return None

"""Why a container was not started or ended at once, in words that say what to mend. Pure.

Docker says it in those of the program below it, behind three names of its own layers; and of a program that ends as
soon as it is started, the one line that the kernel's refusal has left in its log.
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
    """What is wrong, and what mends it."""

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
        "COPY it in the Dockerfile, or correct the path; what is mounted over its directory hides it",
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
        "mount a directory on a directory, a file on a file; a source that Git does not track is made as a directory",
    ),
    (
        r'error mounting "([^"]*)" to rootfs at "([^"]*)": (.*)',
        "{0} cannot be mounted at {1}: {2}",
        "correct the service's `volumes`",
    ),
    (
        r"bind source path does not exist: (\S+)",
        "{0} is to be mounted, and is not on the host",
        "make it there, or mount a path of the repository",
    ),
    (
        r"Cannot mkdir: (\S+) is not a directory"
        r"|chdir to cwd \(\"([^\"]+)\"\)[^:]*: (?:not a directory|no such file.*)",
        "the working directory {0} is no directory in the image",
        "correct `working_dir`, or the Dockerfile's WORKDIR",
    ),
    (
        r"chdir to cwd \(\"([^\"]+)\"\).*permission denied",
        "its user may not enter the working directory {0}",
        "correct `user`, or the rights of that directory in the Dockerfile",
    ),
    (
        r"error setting rlimits? .*",
        "the host does not allow the limits that `ulimits` asks for",
        "ask for less",
    ),
    (
        r"open /proc/sys/(\S+): (?:no such file or directory|permission denied)",
        "`sysctls` asks for {0}, which a container of this host does not have",
        "take it out",
    ),
    (
        r'error gathering device information while adding custom device "([^"]+)"',
        "the device {0} is not on the host",
        "take it out of `devices`",
    ),
    (
        r"argument list too long",
        "its command and environment are larger than a program may be given",
        "a variable has at most 128 KB: mount a large one as a file (`secrets`, `configs`)",
    ),
    (
        r"does not match the (?:specified|detected) (?:host )?platform|no matching manifest for ",
        "the image is for another processor than this host's",
        "name one that is for it too (docker image inspect says what an image is for), or build it on this host",
    ),
)

# What the kernel refuses after the container's own start, as the last line of its log.
_REFUSED = (
    (
        r"exec (\S+): no such file or directory",
        "`{0}` is there, but not what is to run it: its first line (#!) names a program that is not in the image",
        "correct that line, or install the program; a line that ends in CRLF names another one",
    ),
    (
        r"exec (\S+): exec format error",
        "`{0}` is no program for this host: it is for another processor, or a script without a first line (#!)",
        "build it for this host's processor (uname -m), or begin the script with a line such as #!/bin/sh",
    ),
    (
        r"exec (\S+): permission denied",
        "`{0}` may not be run by the container's user",
        "give it the right in the Dockerfile (RUN chmod a+rx), or correct `user`",
    ),
)


def plain(said: str) -> str:
    """Docker's words without the names of what is between it and the kernel."""
    return _END.sub("", _LAYERS.sub("", said.strip()))


def find(said: str, log: Sequence[str] = ()) -> Cause | None:
    """The cause that Docker's words or the end of a container's log name; None where they are of another kind."""
    for pattern, what, hint in _CAUSES:
        if found := re.search(pattern, said):
            return Cause(what.format(*filter(None, found.groups())), hint)
    return of_log(log)


def of_log(log: Sequence[str]) -> Cause | None:
    """The cause that the last line of a container's log names: the program of its image was refused by the kernel."""
    for pattern, what, hint in _REFUSED:
        if log and (found := re.fullmatch(pattern, log[-1].strip())):
            return Cause(what.format(found[1]), hint)
    return None

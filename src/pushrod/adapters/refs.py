"""Where a branch of a repository is, read from its file if possible, without starting a program."""

import re

BRANCH = "main"
"""The deployed branch of an app's repository."""

_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")


def loose(repository: str, ref: str) -> str:
    """The object name in a ref's own file; empty if there is no file (gitrepository-layout(5)) or it contains
    anything else: then Git must be asked.
    """
    try:
        with open(f"{repository}/{ref}", encoding="ascii") as f:  # noqa: PTH123  without pathlib, which takes as long
            content = f.read(80)
    except (OSError, ValueError):
        return ""
    return content.strip() if _OID.fullmatch(content) and content.strip("0\n") else ""

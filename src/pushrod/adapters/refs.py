"""Where a branch of a repository is, without a program being started where that can be told from its file."""

import re

BRANCH = "main"
"""The deployed branch of an app's repository."""

_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\n")


def loose(repository: str, ref: str) -> str:
    """What a ref's own file says that it leads to; nothing where it has none (gitrepository-layout(5)), or where that
    says anything else: then Git has to be asked."""
    try:
        with open(f"{repository}/{ref}", encoding="ascii") as f:  # noqa: PTH123  without pathlib, which takes as long
            said = f.read(80)
    except (OSError, ValueError):
        return ""
    return said.strip() if _OID.fullmatch(said) and said.strip("0\n") else ""

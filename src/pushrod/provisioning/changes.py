"""A plan as values: what a host lacks, to be shown or carried out."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pushrod.core.values import Value
from pushrod.system import files

Action = Literal["new", "changed", "same", "kept"]


class Change(Value, frozen=True):
    """One item that a host needs. `same` exists already; `kept` is the owner's own setting, left alone."""

    what: str
    action: Action
    detail: str = ""

    @property
    def pending(self) -> bool:
        """Whether it still has to be done."""
        return self.action in ("new", "changed")


class Work(NamedTuple):
    """A change and the function that carries it out, called only if the change is pending."""

    change: Change
    carry_out: Callable[[], None] = lambda: None


Owner = Callable[[], tuple[int, int]]
"""User and group of a file; evaluated late, because the account may not exist while the plan is made."""


def root_owner() -> tuple[int, int]:
    """Root, for files that only the host's owner changes."""
    return 0, 0


def file(
    path: Path, content: bytes | None, *, mode: int = 0o644, owner: Owner = root_owner, detail: str = ""
) -> Work:
    """A file with this content, owner and mode, replaced atomically if it differs; a content of None makes a
    directory."""

    def carry_out() -> None:
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            files.chown(path, owner())
            path.chmod(mode)
        else:
            files.write(path, content, mode=mode, owner=owner())

    return Work(Change(str(path), _action(path, content, mode, owner), detail), carry_out)


def _action(path: Path, content: bytes | None, mode: int, owner: Owner) -> Action:
    try:
        status = path.stat()
        same = path.is_dir() if content is None else path.read_bytes() == content
        same = same and (status.st_uid, status.st_gid) == owner() and status.st_mode & 0o7777 == mode
    except FileNotFoundError:
        return "new"
    except KeyError:  # the account does not exist yet
        same = False
    return "same" if same else "changed"

"""A plan as values: what a host lacks, shown or carried out."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from pushrod.core.values import Value
from pushrod.system import files

Action = Literal["new", "changed", "same", "kept"]


class Change(Value, frozen=True):
    """One thing that a host needs. `same` is there already; `kept` is the owner's own, and stays as it is."""

    what: str
    action: Action
    detail: str = ""

    @property
    def pending(self) -> bool:
        """Whether something is to be done."""
        return self.action in ("new", "changed")


class Work(NamedTuple):
    """A change and what carries it out; that is called only where the change is pending."""

    change: Change
    carry_out: Callable[[], None] = lambda: None


Owner = Callable[[], tuple[int, int]]
"""User and group of a file; asked late, because the account may not be there while the plan is made."""


def root_owner() -> tuple[int, int]:
    """What only the host's owner changes belongs to root."""
    return 0, 0


def file(
    path: Path, content: bytes | None, *, mode: int = 0o644, owner: Owner = root_owner, detail: str = ""
) -> Work:
    """A file with this content, owner and mode, replaced atomically where it is not so; `None` makes a directory."""

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
        found = path.stat()
        same = path.is_dir() if content is None else path.read_bytes() == content
        same = same and (found.st_uid, found.st_gid) == owner() and found.st_mode & 0o7777 == mode
    except FileNotFoundError:
        return "new"
    except KeyError:  # the account is not there yet
        same = False
    return "same" if same else "changed"

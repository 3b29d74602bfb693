"""The files of a commit, written from the repository alone: never from a work tree that someone edits."""

import os
from pathlib import Path

from pushrod.adapters.git.commands import failed, git
from pushrod.core.errors import RepositoryError
from pushrod.system import files, processes

_ATTRIBUTES = "* -export-ignore -export-subst -filter -text -eol -ident -working-tree-encoding -diff -merge\n"


def write_attributes(repository: Path) -> None:
    """Make a checkout's files exactly those of the commit: none of its `.gitattributes` omits any, changes their
    text, or calls a program (gitattributes(5): this file takes precedence).
    """
    path = repository / "info" / "attributes"
    if not path.exists() or path.read_text() != _ATTRIBUTES:
        files.write(path, _ATTRIBUTES)


def checkout(repository: Path, commit: str, target: Path) -> None:
    """Write the tree of a commit below `target`, from the repository alone: never from a work tree that someone
    edits.

    Every account of an instance can read it, whatever the umask. Raises FileExistsError if `target` exists.
    """
    files.make_open(target.parent)
    target.mkdir()
    target.chmod(0o755)
    _extract(repository, commit, target, _archive(target))


def checkout_into(repository: Path, commit: str, target: Path) -> None:
    """Write the tree of a submodule's commit below `target`, the empty directory that its parent's tree has there.

    Raises RepositoryError if anything else is there.
    """
    if target.is_symlink() or not target.is_dir() or any(target.iterdir()):
        raise RepositoryError("a file is where a submodule's directory should be", where=str(target))
    _extract(repository, commit, target, repository / f"checkout-{os.getpid()}.tar")


def _extract(repository: Path, commit: str, target: Path, archive: Path) -> None:
    write_attributes(repository)
    try:
        git(repository, "-c", "tar.umask=0022", "archive", "--format=tar", f"--output={archive}", commit)
        done = processes.run(["tar", "-xf", archive, "-C", target], timeout=300, umask=0o022)
        if done.status != 0:
            raise failed("tar", done.stderr.strip(), target)
    finally:
        archive.unlink(missing_ok=True)


def remove_checkout(target: Path) -> None:
    """Remove a checkout, even an incomplete one."""
    remove_archive(target)
    files.remove_tree(target)


def remove_archive(target: Path) -> None:
    """Remove the archive from which an interrupted checkout was written."""
    _archive(target).unlink(missing_ok=True)


def _archive(target: Path) -> Path:
    return target.with_name(f"{target.name}.tar")

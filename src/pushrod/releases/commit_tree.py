"""The tree of a commit: its files with those of submodules and of Git LFS, within the app's limits."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pushrod.adapters import git, lfs, submodules
from pushrod.core.limits import Limits
from pushrod.core.modules import later
from pushrod.manifest import grants
from pushrod.releases import push_limits
from pushrod.state.apps import App

if TYPE_CHECKING:
    from pushrod.adapters import https, lfs_server
else:
    https, lfs_server = later("pushrod.adapters.https"), later("pushrod.adapters.lfs_server")


def write(
    app: App, commit: str, checkout: Path, most: Limits, note: Callable[[str], None]
) -> tuple[str, ...]:
    """Write all files of a commit, including those of its submodules and of Git LFS; returns notes on missing
    ones.

    `most` limits all of them together.
    """
    written: list[git.Blob] = []

    def fits(repository: Path, oid: str) -> None:
        blobs = push_limits.measure(repository, oid, most, beside=written)
        push_limits.check_room(blobs, app.directory)
        written.extend(blobs)

    fits(app.repository, commit)
    git.checkout(app.repository, commit, checkout)
    place, servers = app.directory / "submodules", grants.servers(app.settings.allowed)
    kept = submodules.Kept(place, note, fits, app.name, servers, most.repository_size)
    notes = submodules.place(app.repository, commit, checkout, kept)
    return (*notes, *_fill_pointers(app, commit, checkout, most, sum(blob.size for blob in written), note))


def _fill_pointers(
    app: App, commit: str, checkout: Path, most: Limits, size: int, note: Callable[[str], None]
) -> list[str]:
    """Replace LFS pointers by the files they stand for; returns notes on files that are not available.

    `size` is the tree's size without those files, in bytes.
    """
    pointers = lfs.pointers(checkout)
    source, fetched = app.settings.source, app.directory / "lfs"
    stores = [app.repository / "lfs" / "objects", fetched]
    stores += [Path(source, ".git", "lfs", "objects")] if source else []
    lacking = lfs.fill(checkout, pointers, stores)
    why, url = "", lfs_server.address(app.repository, commit) if lacking else ""
    if url:
        for pointer in lacking:
            size += pointer.size
            push_limits.check_size(commit, pointer.path, pointer.size, size, most)
        push_limits.check_room([git.Blob(*p) for p in lacking], app.directory)
        note(f"Git LFS: fetching {len(lacking)} files from {url}")
        try:
            lfs_server.fetch(url, lacking, fetched, grants.servers(app.settings.allowed))
        except https.FetchError as e:
            why = f" (from {url}: {e})"
        lacking = lfs.fill(checkout, lacking, [fetched])
    lfs.keep_only(fetched, pointers)
    return _lacking_files(lacking, why)


def _lacking_files(lacking: Sequence[lfs.Pointer], why: str) -> list[str]:
    if not lacking:
        return []
    named = ", ".join(p.path for p in lacking[:5]) + (", …" if len(lacking) > 5 else "")
    return [
        f"{len(lacking)} of the commit's files are in Git LFS and could not be fetched{why}; only LFS's pointers are "
        f"here: {named}. Put the files into Git itself (git lfs migrate export), or fetch them in the image's build"
    ]

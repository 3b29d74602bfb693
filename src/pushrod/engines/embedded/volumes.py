"""The volumes and bind mounts of services, without containers.

 apps/shop/volumes/media            the volume `media`, with what the image has there when it is first used
 apps/shop/data/var%2Fuploads       a path that the commit does not contain, or only a placeholder of

Both are shared by an app's releases, and kept until the app is destroyed. A path of the commit is that of the
release's checkout. In the namespace of an instance each is where the manifest says. Where the kernel refuses
namespaces, data below the working directory are there by a link in the checkout, and other mounts are refused. A
`tmpfs` is an empty file system in memory in that namespace, or else an empty directory in the checkout.
"""

import os
import posixpath
import shutil
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters import git
from pushrod.core.errors import ManifestError
from pushrod.core.values import Service, Volume
from pushrod.manifest import named_volumes
from pushrod.state.apps import App
from pushrod.system import files
from pushrod.system.accounts import Account

_TEMPORARY = ("/tmp", "/var/tmp", "/run", "/var/run", "/dev/shm")  # noqa: S108  the machine's own do for a `tmpfs`


class Layout(NamedTuple):
    """What a service's programs see of their image: `workdir`, its working directory there (empty: unknown), and
    `directory`, where that is here. A `built` one is shared by releases, so nothing is changed in it.
    """

    workdir: str
    directory: Path
    built: bool = False

    def inside(self, target: str) -> str:
        """The path of a target below the working directory; `.` for that itself, empty for other places."""
        relative = posixpath.relpath(target, self.workdir) if self.workdir else ".."
        return "" if relative.split("/")[0] == ".." else relative

    def shows(self, target: str) -> bool:
        """Whether a mount there covers the working directory or a part of it."""
        return bool(self.workdir) and bool(
            self.inside(target) or Path(self.workdir).is_relative_to(posixpath.normpath(target))
        )


class Mount(NamedTuple):
    """A mount with its place on this machine. `kept` means that it is data, not a part of the commit."""

    volume: Volume
    place: Path
    kept: bool


def of(app: App, service: Service, layout: Layout, checkout: Path) -> list[Mount]:
    """The mounts of a service that its programs would miss, outer ones first.

    A mount of the machine's own path is none: programs see the machine's files, and no others of it. Neither is one
    that shows the commit's files over those of the working directory, as for development.
    """
    mounts = []
    for volume in sorted(service.volumes, key=lambda v: v.target.count("/")):
        if volume.tmpfs:
            mount = Mount(volume, Path("tmpfs"), kept=False)
        elif volume.bind:
            bound = _bound(app, volume, checkout)
            if bound is None or (not bound.kept and _is_shown(bound, layout)):
                continue
            mount = bound
        elif volume.source or not layout.inside(volume.target) or _holds_data(volume.target, layout):
            # one without a name of its own belongs to its service
            name = volume.source or f"{service.name}:{volume.target}"
            mount = Mount(volume, named_path(app, name), kept=True)
        else:
            continue
        mounts.append(mount)
    return mounts


def _holds_data(target: str, layout: Layout) -> bool:
    """Whether an anonymous volume in the working directory holds data: the release has no files there, and is not
    going to have any."""
    inside = layout.inside(target)
    place = layout.directory / inside
    if place.is_symlink():  # by `link`
        return True
    return inside != "." and named_volumes.may_hold_data(target) and not is_tracked(layout.directory, inside)


def named_path(app: App, name: str) -> Path:
    """The directory of a volume."""
    return app.directory / "volumes" / urllib.parse.quote(name, safe="")


def data_path(app: App, source: str) -> Path:
    """The directory of a path that the commit does not contain."""
    return app.directory / "data" / urllib.parse.quote(source, safe="")


def is_tracked(checkout: Path, source: str) -> bool:
    """Whether the commit contains a path; of an empty directory it can have a placeholder only."""
    place = checkout / source
    if not place.is_dir():
        return place.exists()
    return any(path.name not in git.PLACEHOLDERS for path in place.rglob("*") if not path.is_dir())


def _bound(app: App, volume: Volume, checkout: Path) -> Mount | None:
    place = checkout / volume.source
    if volume.source.startswith(("/", "~")) or not place.resolve().is_relative_to(checkout.resolve()):
        return None
    if is_tracked(checkout, volume.source):
        return Mount(volume, place, kept=False)
    return Mount(volume, data_path(app, volume.source), kept=True)


def _is_shown(mount: Mount, layout: Layout) -> bool:
    """Whether the programs see the mounted files of the commit there anyway, or those that are built from them."""
    if layout.built:
        return layout.shows(mount.volume.target)
    inside = layout.inside(mount.volume.target)
    shown = layout.directory / inside
    above = bool(layout.workdir) and Path(layout.workdir).is_relative_to(mount.volume.target)
    return (above and not inside) or (bool(inside) and shown.exists() and shown.samefile(mount.place))


def check(
    app: App,
    service: Service,
    layout: Layout,
    checkout: Path,
    refusal: str,
    may_cover: Callable[[str], bool],
) -> None:
    """Raise ManifestError, with service and path, for a mount that is not possible: at a path that the machine needs,
    or anywhere if the kernel refuses namespaces, with this `refusal`.
    """
    from pushrod.manifest.policy.mounts import is_missing_file  # slow to import, and only deployments need it

    for volume, _, kept in of(app, service, layout, checkout):
        if volume.tmpfs and volume.target in _TEMPORARY:
            continue
        where = f"services.{service.name}.{'tmpfs' if volume.tmpfs else 'volumes'}"
        name = volume.source or ("a tmpfs" if volume.tmpfs else "a volume")
        what = f"{service.name}: `{name}` cannot be mounted at {volume.target}"
        if volume.bind and is_missing_file(volume.source, volume.target, partial(is_tracked, checkout)):
            raise ManifestError(
                f"{service.name}: the file `{volume.source}`, mounted at {volume.target}, is not in the commit",
                where=where,
                hint="commit it; data needs a directory: ./data:/data",
            )
        if not may_cover(volume.target):
            raise ManifestError(
                f"{what}, which this machine needs itself",
                where=where,
                hint=f"mount it at a path of its own, such as {volume.target.rstrip('/')}/data, or deploy to a host "
                "with Docker",
            )
        if layout.built and layout.inside(volume.target) and not (volume.source or volume.tmpfs):
            continue  # an anonymous volume: without namespaces, the release's own directory does
        linked = (kept or volume.tmpfs) and layout.inside(volume.target) not in ("", ".") and not layout.built
        if refusal and not linked:
            raise ManifestError(
                f"{what}: the kernel of this machine refuses mount namespaces ({refusal})",
                where=where,
                hint=f"mount data below the working directory ({layout.workdir or '/app'}/data), and use it by its "
                "relative path (`data`); allow user namespaces (`pushrod doctor` says more); or deploy to a host "
                "with Docker",
            )


def notes(service: Service, refusal: str) -> Iterator[str]:
    """Notes on the machine's own paths, which programs see anyway, but nowhere else; on its own directories for
    temporary files; and on what stays writable if the kernel refuses namespaces, with this `refusal`.
    """
    paths = [
        v for v in service.volumes if v.bind and v.source.startswith(("/", "~")) and v.source != v.target
    ]
    if paths:
        words = ", ".join(f"{v.source} at {v.target}" for v in paths)
        yield (
            f"{service.name}: paths of the machine are not mounted on the embedded engine ({words}): use the path "
            "itself, or a volume or a path of the repository instead"
        )
    if own := [v.target for v in service.volumes if v.tmpfs and v.target in _TEMPORARY]:
        yield f"{service.name}: `tmpfs` at {', '.join(own)} is the machine's own directory on the embedded engine"
    if refusal and (service.read_only or any(v.read_only for v in service.volumes)):
        yield (
            f"{service.name}: `read_only` not applied: the kernel of this machine refuses mount namespaces "
            f"({refusal})"
        )


def prepare(
    mounts: Sequence[Mount],
    layout: Layout,
    copies: Sequence[tuple[str, str]],
    checkout: Path,
    account: Account | None,
) -> None:
    """Create the directories of data that do not exist yet; a volume begins with what the image has there."""
    for volume, place, kept in mounts:
        if not kept or place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name[:99]}.{os.getpid()}")
        files.remove(temporary)
        image = _in_image(volume, layout, copies, checkout)
        if image is not None and not volume.bind:
            shutil.copytree(image, temporary, symlinks=True)
        else:
            temporary.mkdir()
        for path in (temporary, *temporary.rglob("*")):
            if not path.is_symlink():
                files.own(path, account)
        temporary.chmod(0o755)
        try:
            temporary.rename(place)
        except OSError:
            if not place.is_dir():
                raise
            files.remove(temporary)  # another command was first


def _in_image(
    volume: Volume, layout: Layout, copies: Sequence[tuple[str, str]], checkout: Path
) -> Path | None:
    """The directory that the image has at the target of a volume."""
    if inside := layout.inside(volume.target):
        place = layout.directory / inside
    else:
        place = next((checkout / path for path, target in copies if target == volume.target), Path())
    return place if place != Path() and place.is_dir() and not place.is_symlink() else None


def places(mounts: Sequence[Mount], layout: Layout, account: Account | None) -> list[tuple[str, str, str]]:
    """Each mount as a place of a `Room`: a path on this machine, its path in the namespace of a service, options."""
    result = []
    for volume, place, _ in mounts:
        inside = layout.inside(volume.target)
        target = str(layout.directory / inside) if layout.built and inside else volume.target
        options = "ro" if volume.read_only else ""
        if volume.tmpfs:
            owner = [f"uid={account.uid}", f"gid={account.gid}"] if account else []
            options = ",".join(filter(None, (volume.tmpfs, options, *owner)))
        result.append((str(place), target, options))
    return result


def linked(mounts: Sequence[Mount], layout: Layout) -> bool:
    """Whether `link` was called: then nothing can be mounted there."""
    return any(m.kept and (layout.directory / layout.inside(m.volume.target)).is_symlink() for m in mounts)


def link(mounts: Sequence[Mount], layout: Layout, account: Account | None) -> None:
    """Put a link to each directory of data, and an empty directory for each `tmpfs`, into the working directory,
    where there is no namespace.
    """
    for volume, place, kept in mounts:
        inside = layout.inside(volume.target)
        target = layout.directory / inside
        if volume.tmpfs and inside not in ("", ".") and not layout.built:
            target.mkdir(parents=True, exist_ok=True)
            files.own(target, account)
        if not kept or inside in ("", ".") or layout.built or target.is_symlink():
            continue
        files.remove(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(place)

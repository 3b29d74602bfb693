"""The rules for mounts, volumes, configs and secrets: the host paths and volumes that they need. Pure."""

import posixpath
import re
from collections.abc import Iterator

from pushrod.adapters import sandbox
from pushrod.core.patterns import lazy
from pushrod.manifest import grants, image_refs
from pushrod.manifest.document import Key
from pushrod.manifest.policy.amounts import tmpfs_options
from pushrod.manifest.policy.reading import (
    Reading,
    Tracked,
)
from pushrod.manifest.policy.refusals import Want, unsupported

# What is called so is a file, not a directory.
_FILE = lazy(
    r".*[^/]\.(cfg|cnf|conf|crt|db|env|html|htpasswd|ini|js|json|key|pem|php|properties|py|sh|sql|sqlite3?|toml|txt|xml"
    r"|ya?ml)"
)
# The others propagate mounts of the container to the host.
_PROPAGATION = ("rprivate", "private", "rslave", "slave")


def _mount(on: Reading, key: Key) -> object:
    """A mount; the loader prints a mapping, however it is written."""
    if not isinstance(key.value, dict):
        key.wrong("a mount as a mapping")
    if key.get("type").text() == "bind" and not key.get("source").text():
        key.wrong("a bind mount with a source")
    on.wants += _mount_wants(key, on.terms.private)
    source, target = key.get("source"), key.get("target")
    if key.get("type").text() == "bind" and is_missing_file(source.text(), target.text(), on.terms.tracked):
        unsupported(
            source,
            f"the file `{source.text()[:200]}` is not in the commit",
            "commit it, or give it as a config or secret (`environment: NAME`); data needs a directory: ./data:/data",
        )
    _check_target(target)
    mount = on.mapping(key, "services.*.volumes")
    if mount.get("type") == "tmpfs":
        mount["tmpfs"] = {"size": str(on.limits.tmpfs), **(mount.get("tmpfs") or {})}
    return mount


def check_form(key: Key) -> None:
    """Raise ManifestError for a mount of a kind, from a path or to a path that no engine can use."""
    _check_target(key.get("target"))
    for _ in _mount_wants(key, ""):
        pass  # grants are only for hosts


def _check_target(target: Key) -> None:
    if target.given and not target.text().startswith("/"):
        unsupported(
            target,
            f"`{target.text()[:60]}` is not an absolute path in the container",
            "use an absolute path; Compose reads one letter before a `:` as a Windows drive, "
            "so a volume needs a longer name",
        )


def is_missing_file(source: str, target: str, tracked: Tracked) -> bool:
    """Whether a path of the repository is surely meant to be a file: in its place Docker would mount a directory."""
    kinds = [match[1] for path in (source, target) if (match := _FILE.fullmatch(path))]
    inside = not source.startswith(("/", "~"))
    return inside and len(kinds) == 2 and kinds[0] == kinds[1] and not tracked(posixpath.normpath(source))


def mounts(on: Reading, key: Key) -> object:
    return [_mount(on, item) for item in key.sequence()]


def references(_: Reading, key: Key) -> object:
    """The configs or secrets of a service, each by its name."""
    for item in key.sequence():
        if isinstance(item.value, dict) and not item.get("source").text():
            item.wrong("one with a source")
    return key.value


def propagation(on: Reading, key: Key) -> object:
    return key.value if key.text() in _PROPAGATION else on.leave(key)


def volumes_from(_: Reading, key: Key) -> object:
    for item in key.sequence():
        if item.text().startswith("container:"):
            unsupported(
                item, "it mounts the volumes of a container that is not the app's", "name the volume instead"
            )
    return key.value


def contexts(on: Reading, key: Key) -> object:
    """Images that the app builds stay; everything else is left out."""
    on.wants += _context_wants(key, on.terms.private)
    given = key.mapping() if isinstance(key.value, dict) else {}
    own = {name: item.text() for name, item in given.items() if item.text().startswith("service:")}
    left = on.leave(key) if not own or len(own) < len(given) else None
    return own or left


def file(on: Reading, key: Key) -> object:
    on.wants += _file_wants(key, on.terms.tracked, on.terms.private)
    return key.value


def volume(on: Reading, key: Key) -> object:
    """A volume as a whole: its owner, by its name, and its kind, by its driver and options."""
    name = key.path.partition(".")[2]
    on.wants += _volume_wants(name, key, on.app, on.terms.private)
    definition = on.mapping(key, "volumes.*") if key.given else {}
    options = key.get("driver_opts")
    if options.get("type").text() == "tmpfs" and not on.has("volume-driver"):
        words = tmpfs_options(on, options.get("o"), options.get("o").text())
        definition["driver_opts"] = {"type": "tmpfs", "device": "tmpfs", "o": f"{words},nosuid,nodev"}
    return definition


# ---- grants that are needed ---------------------------------------------------------------------------------

# Half of all compose files mount these; they contain no information about the host.
_READABLE = ("/etc/localtime", "/etc/timezone")
# The mount options of a plain bind mount.
_BINDING = {"bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec"}
_MOUNTED = {"device", "o", "type"}  # marks a bind mount; the kernel then ignores its type


def _mount_wants(volume: Key, private: str) -> Iterator[Want]:
    """The grants that a service's mount needs: a bind mount of a host path needs one."""
    kind, source = volume.get("type"), volume.get("source")
    if kind.text() not in ("bind", "volume", "tmpfs"):
        unsupported(kind, f"`{kind.text()}` mounts are not supported", "use a volume or a bind mount")
    readable = volume.get("read_only").yes() and source.text() in _READABLE
    if kind.text() == "bind" and not readable:
        yield from _path_wants(source, private)


def _path_wants(key: Key, private: str) -> Iterator[Want]:
    """The grants for a path: none for one in the checkout, the path itself for one of the host."""
    path = key.text().removeprefix("/") if key.text().startswith("/~") else key.text()
    if not path.startswith("/"):
        normal = posixpath.normpath(path or ".")
        if re.match(r"[A-Za-z]:[\\/]|\.{0,2}\\", path):
            unsupported(
                key,
                f"`{path[:60]}` is a Windows path",
                "write paths in the repository with `/` and without a drive: `./app`",
            )
        if path.startswith("~"):  # the loader has replaced it by one of homes.MARK
            unsupported(
                key,
                f"`{path}` begins with `~`, {sandbox.NOT_YOUR_HOME}",
                "use a path inside the repository, a volume, or an absolute path of the host",
            )
        if normal == ".." or normal.startswith("../") or "\0" in path:
            unsupported(
                key,
                f"`{path}` leaves the repository: on the host there are no files beside a checkout",
                "use a path inside the repository, a volume, or an absolute path of the host",
            )
        return
    path = grants.host_path(path)
    if private and grants.below(path, grants.host_path(private)):
        unsupported(
            key, f"`{path}` is among pushrod's own files", "use a path inside the repository, or a volume"
        )
    yield Want(key, "docker-socket" if grants.is_socket(path) else path)


def _context_wants(given: Key, private: str) -> Iterator[Want]:
    """The grants for a build's `additional_contexts`: host directories need one. Images that no app may name are
    refused (`image_refs.check`).
    """
    for key in given.options().values():
        value = key.text() if isinstance(given.value, dict) else key.text().partition("=")[2]
        scheme, colon, rest = value.partition("://")
        if scheme == "oci-layout" and colon:
            yield from _path_wants(Key(key.path, rest), private)
        elif scheme == "docker-image" and colon:
            image_refs.check(rest, key.path)
        elif not colon and not value.startswith("service:"):
            yield from _path_wants(Key(key.path, value), private)


def _volume_wants(name: str, volume: Key, project: str, private: str) -> Iterator[Want]:
    """A volume must be the app's own: one with another name may belong to another app."""
    called = volume.get("name").text() or (name if volume.get("external").value else "")
    if called and not (project and called.startswith(f"{project}_")):
        yield Want(volume.get("name") if volume.get("name").given else volume, f"{grants.VOLUME}{called}")
    if volume.get("driver").text() not in ("", "local"):
        yield Want(volume.get("driver"), "volume-driver")
        return
    options = volume.get("driver_opts")
    device, kind = options.get("device"), options.get("type").text()
    flags = set(options.get("o").text().split(","))
    binds = bool({"bind", "rbind"} & flags)
    if binds:
        if not device.text().startswith("/"):
            unsupported(
                device,
                f"a volume that binds `{device.text()}`: Docker accepts no repository path there",
                "mount the directory itself, such as ./uploads:/uploads",
            )
        yield from _path_wants(device, private)
    # Docker mounts it with the host's rights: anything else is a part of the host, or a server that the host can
    # reach.
    plain = binds and flags <= _BINDING and set(options.mapping()) <= _MOUNTED
    if options.value and kind != "tmpfs" and not plain:
        yield Want(options, "volume-driver")


def _file_wants(key: Key, tracked: Tracked, private: str) -> Iterator[Want]:
    """The grants for the file of a config or secret: none for one in the commit, the path for one of the host."""
    yield from _path_wants(key, private)
    if not key.text().startswith("/") and not tracked(posixpath.normpath(key.text())):
        unsupported(
            key,
            f"the file `{key.text()}` is not in the commit",
            "commit it; for a secret write `environment: NAME` instead of `file`, and `pushrod secret set NAME`",
        )

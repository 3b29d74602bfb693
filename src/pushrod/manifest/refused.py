"""Which paths and volumes of the host a manifest asks for, and how it is refused what it may not have. Pure.

Whoever may push an app is not root on the host. So whatever would make a container part of the host is refused by
name, with the word that allows it (`grants.WORDS`); what can never work beside other releases is refused
without one.
"""

import posixpath
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from pushrod.core.errors import ManifestError
from pushrod.manifest import grants, image_refs
from pushrod.manifest.document import Key
from pushrod.manifest.grants import WORDS

Tracked = Callable[[str], bool]

_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")
_READABLE = (
    "/etc/localtime",
    "/etc/timezone",
)  # what half of all compose files mount; they say nothing of the host
_BINDING = {
    "bind",
    "rbind",
    "ro",
    "rw",
    "nosuid",
    "nodev",
    "noexec",
}  # the mount options of a plain bind mount
_MOUNTED = {"device", "o", "type"}  # what says one; of its type the kernel takes no notice


class Want(NamedTuple):
    """Something of the host that a key asks for, and the word that allows it."""

    key: Key
    word: str


def refuse(wants: Sequence[Want], app: str) -> NoReturn:
    """Raise ManifestError about the first of these; its hint names the words for all of them."""
    words = " ".join("privileged" if w == "ALL" else w for w in dict.fromkeys(w.word for w in wants))
    raise ManifestError(
        f"{_said(wants[0])}, which this host does not allow the app",
        where=wants[0].key.path,
        hint=f"the host's owner can allow it: pushrod apps allow {app} {words}",
    )


def _said(want: Want) -> str:
    word = want.word
    if word in WORDS:
        return f"it asks for {WORDS[word].partition(' (')[0].partition(':')[0].partition(';')[0]}"
    if word.startswith("/"):
        return f"it asks for `{word}` of the host"
    if word.startswith(grants.VOLUME):
        return f"it asks for the volume `{word.removeprefix(grants.VOLUME)}`, which is not the app's own"
    return f"it asks for the capability {word}" if word != "ALL" else "it asks for every capability"


def options(key: Key) -> dict[str, Key]:
    """A mapping, or a list of `name=value`, by name."""
    if isinstance(key.value, list):
        return {item.text().partition("=")[0]: item for item in key.sequence()}
    return key.mapping()


# ---- mounts ---------------------------------------------------------------------------------------------------


def mount(volume: Key, private: str) -> Iterator[Want]:
    """What a mount of a service asks for: a bind mount of a path of the host."""
    kind, source = volume.get("type"), volume.get("source")
    if kind.text() not in ("bind", "volume", "tmpfs"):
        unsupported(kind, f"`{kind.text()}` mounts are not supported", "use a volume or a bind mount")
    readable = volume.get("read_only").yes() and source.text() in _READABLE
    if kind.text() == "bind" and not readable:
        yield from _path(source, private)


def _path(key: Key, private: str) -> Iterator[Want]:
    """A path of the checkout, which needs nothing, or one of the host."""
    path = key.text().removeprefix("/") if key.text().startswith("/~") else key.text()
    if not path.startswith("/"):
        normal = posixpath.normpath(path or ".")
        if path.startswith("~"):  # the loader has made it one of compose.HOME
            unsupported(
                key,
                f"`{path}` begins with `~`, which on a server is the home of pushrod's account, not yours",
                "give a path inside the repository, a volume, or an absolute path of the host",
            )
        if normal == ".." or normal.startswith("../") or "\0" in path:
            unsupported(
                key,
                f"`{path}` leaves the repository: beside a checkout on the host is nothing of yours",
                "give a path inside the repository, a volume, or an absolute path of the host",
            )
        return
    path = grants.host_path(path)
    if private and grants.below(path, grants.host_path(private)):
        unsupported(
            key, f"`{path}` is among pushrod's own files", "give a path inside the repository, or a volume"
        )
    yield Want(key, "docker-socket" if is_socket(path) else path)


def is_socket(path: str) -> bool:
    """Whether a path of the host is Docker's socket, or a directory that holds it."""
    path = grants.host_path(path)
    holding = ("/run", *(posixpath.dirname(s) for s in _SOCKETS))
    return path in holding or any(grants.below(path, s) for s in _SOCKETS)


def unsupported(key: Key, what: str, hint: str) -> NoReturn:
    """Refuse a key that no word allows."""
    raise ManifestError(what, where=key.path, hint=hint)


def contexts(given: Key, private: str) -> Iterator[Want]:
    """What a build's `additional_contexts` ask for: directories of the host. An image that no app may name is
    refused (`image_refs.check`)."""
    for key in options(given).values():
        value = key.text() if isinstance(given.value, dict) else key.text().partition("=")[2]
        scheme, colon, rest = value.partition("://")
        if scheme == "oci-layout" and colon:
            yield from _path(Key(key.path, rest), private)
        elif scheme == "docker-image" and colon:
            image_refs.check(rest, key.path)
        elif not colon and not value.startswith("service:"):
            yield from _path(Key(key.path, value), private)


# ---- volumes, configs, secrets --------------------------------------------------------------------------------


def volume(name: str, volume: Key, project: str, private: str) -> Iterator[Want]:
    """A volume must be the app's own: one by another name may be another app's."""
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
                f"a volume that binds `{device.text()}`: Docker takes no path of the repository there",
                "mount the directory itself, such as ./uploads:/uploads",
            )
        yield from _path(device, private)
    # Docker mounts it as the host: what else there is to mount is a part of the host, or a server that the host asks.
    plain = binds and flags <= _BINDING and set(options.mapping()) <= _MOUNTED
    if options.value and kind != "tmpfs" and not plain:
        yield Want(options, "volume-driver")


def file(key: Key, tracked: Tracked, private: str) -> Iterator[Want]:
    """What the file of a config or secret is: one of the commit, or one of the host."""
    yield from _path(key, private)
    if not key.text().startswith("/") and not tracked(posixpath.normpath(key.text())):
        unsupported(
            key,
            f"the file `{key.text()}` is not in the commit",
            "commit it; for a secret write `environment: NAME` instead of `file`, and `pushrod secret set NAME`",
        )

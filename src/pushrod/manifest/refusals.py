"""What a manifest must not ask of a host with Docker unless the host's owner allowed it for that app. Pure.

Whoever may push an app is not root on the host. So whatever would make a container part of the host is refused by
name, with the word that allows it (`allowances.WORDS`); what can never work beside other releases is refused
without one.
"""

import posixpath
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, NoReturn

from pushrod.errors import ManifestError
from pushrod.manifest import allowances
from pushrod.manifest.allowances import WORDS, check_word
from pushrod.manifest.document import Key

__all__ = ["WORDS", "check_word", "refuse"]

Tracked = Callable[[str], bool]

_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")
_READABLE = (
    "/etc/localtime",
    "/etc/timezone",
)  # what half of all compose files mount; they say nothing of the host
_NAMESPACES = {
    "network_mode": "host-network",
    "pid": "host-pid",
    "ipc": "host-ipc",
    "uts": "host-uts",
    "userns_mode": "host-userns",
    "cgroup": "host-cgroup",
}
# Options that leave a container as confined as Docker makes it, `:` written as `=`.
_CONFINED = ("seccomp=builtin", "apparmor=docker-default")
_NETWORK_FILE_SYSTEMS = ("cifs", "nfs", "nfs3", "nfs4", "smb3")
_ENTITLEMENTS = {"security.insecure": "privileged", "network.host": "host-network"}


class _Want(NamedTuple):
    """Something of the host that a key asks for, and the word that allows it."""

    key: Key
    word: str


def refuse(document: object, allowed: Collection[str], tracked: Tracked, *, private: str = "") -> None:
    """Refuse a resolved compose document that asks for more of the host than the app is allowed.

    `allowed` are words of `allowances`. `tracked` says whether the commit has a path (a file, or a directory with
    files in it). `private` is the directory of pushrod's own files, which no word opens. Raises ManifestError about
    the first key in question; its hint names the words for all of them.
    """
    top = Key("", document)
    wants = [w for w in _wants(top, tracked, private) if not allowances.covered(w.word, allowed)]
    if not wants:
        return
    words = " ".join("privileged" if w == "ALL" else w for w in dict.fromkeys(w.word for w in wants))
    app = top.get("name").text() or "APP"
    raise ManifestError(
        f"{_said(wants[0])}, which this host does not allow the app",
        where=wants[0].key.path,
        hint=f"the host's owner can allow it: pushrod apps allow {app} {words}",
    )


def _said(want: _Want) -> str:
    word = want.word
    if word in WORDS:
        return f"it asks for {WORDS[word].partition(' (')[0].partition(':')[0].partition(';')[0]}"
    if word.startswith("/"):
        return f"it asks for `{word}` of the host"
    if word.startswith(allowances.VOLUME):
        return f"it asks for the volume `{word.removeprefix(allowances.VOLUME)}`, which is not the app's own"
    return f"it asks for the capability {word}" if word != "ALL" else "it asks for every capability"


def _wants(top: Key, tracked: Tracked, private: str) -> Iterator[_Want]:
    for service in top.get("services").mapping().values():
        yield from _namespaces(service)
        yield from _rights(service)
        yield from _devices(service)
        yield from _mounts(service, private)
        yield from _build(service.get("build"), private)
    for volume in top.get("volumes").mapping().items():
        yield from _volume(*volume, top.get("name").text(), private)
    for kind in ("configs", "secrets"):
        for item in top.get(kind).mapping().values():
            yield from _file(item, tracked, private)


# ---- a service ------------------------------------------------------------------------------------------------


def _namespaces(service: Key) -> Iterator[_Want]:
    for name, word in _NAMESPACES.items():
        key = service.get(name)
        if key.text() == "host":
            yield _Want(key, word)
        elif key.text().startswith(("container:", "service:")):
            _unsupported(
                key,
                f"`{name}: {key.text()}` is not supported: two releases run at once, so each instance has its own",
                "take it out; services of a release reach each other by their names",
            )


def _rights(service: Key) -> Iterator[_Want]:
    hooks = (h for name in ("post_start", "pre_stop") for h in service.get(name).sequence())
    for holder in (service, *hooks):
        if holder.get("privileged").yes():
            yield _Want(holder.get("privileged"), "privileged")
    for key in service.get("cap_add").sequence():
        if (name := allowances.capability(key.text())) not in allowances.DEFAULT_CAPABILITIES:
            yield _Want(key, name)
    for key in service.get("security_opt").sequence():
        option = key.text().replace(":", "=", 1)
        if option not in _CONFINED and option.partition("=")[0] != "no-new-privileges":
            yield _Want(key, "unconfined")
    for name, key in _options(service.get("sysctls")).items():
        if not name.startswith("net."):
            yield _Want(key, "sysctls")
    if service.get("cgroup_parent").text():
        yield _Want(service.get("cgroup_parent"), "cgroup-parent")
    if service.get("runtime").text() not in ("", "runc"):
        yield _Want(service.get("runtime"), "runtime")


def _options(key: Key) -> dict[str, Key]:
    """A mapping, or a list of `name=value`, by name."""
    if isinstance(key.value, list):
        return {item.text().partition("=")[0]: item for item in key.sequence()}
    return key.mapping()


def _devices(service: Key) -> Iterator[_Want]:
    reserved = service.get("deploy").get("resources").get("reservations").get("devices")
    for key in (service.get("devices"), service.get("device_cgroup_rules"), service.get("gpus"), reserved):
        if key.value:
            yield _Want(key, "devices")


def _mounts(service: Key, private: str) -> Iterator[_Want]:
    if service.get("use_api_socket").yes():
        yield _Want(service.get("use_api_socket"), "docker-socket")
    for key in service.get("volumes_from").sequence():
        if key.text().startswith("container:"):
            _unsupported(
                key, "it mounts the volumes of a container that is not the app's", "name the volume instead"
            )
    for volume in service.get("volumes").sequence():
        kind = volume.get("type").text() if isinstance(volume.value, dict) else "bind"
        if kind in ("cluster", "npipe"):
            _unsupported(
                volume.get("type"), f"`{kind}` mounts are not supported", "use a volume or a bind mount"
            )
        elif kind == "bind":
            yield from _bind(volume, private)


def _bind(volume: Key, private: str) -> Iterator[_Want]:
    if isinstance(volume.value, dict):
        key, read_only = volume.get("source"), volume.get("read_only").yes()
    else:  # the loader prints none of these; by hand `/srv/x:/x:ro`
        source, _, rest = volume.text().partition(":")
        key, read_only = Key(volume.path, source), rest.endswith(":ro")
        if not source.startswith(("/", ".", "~")):
            return
    if not (read_only and key.text() in _READABLE):
        yield from _path(key, private)


def _path(key: Key, private: str) -> Iterator[_Want]:
    """A path of the checkout, which needs nothing, or one of the host."""
    path = key.text()
    if not path.startswith("/"):
        normal = posixpath.normpath(path or ".")
        if normal == ".." or normal.startswith(("../", "~")) or "\0" in path:
            _unsupported(
                key,
                f"`{path}` leaves the repository: beside a checkout on the host is nothing of yours",
                "give a path inside the repository, a volume, or an absolute path of the host",
            )
        return
    path = allowances.host_path(path)
    if private and allowances.below(path, allowances.host_path(private)):
        _unsupported(
            key, f"`{path}` is among pushrod's own files", "give a path inside the repository, or a volume"
        )
    holding = ("/run", *(posixpath.dirname(s) for s in _SOCKETS))
    socket = path in holding or any(allowances.below(path, s) for s in _SOCKETS)
    yield _Want(key, "docker-socket" if socket else path)


def _unsupported(key: Key, what: str, hint: str) -> NoReturn:
    raise ManifestError(what, where=key.path, hint=hint)


# ---- a build --------------------------------------------------------------------------------------------------


def _build(build: Key, private: str) -> Iterator[_Want]:
    if not isinstance(build.value, dict):
        return
    if build.get("privileged").yes():
        yield _Want(build.get("privileged"), "privileged")
    for key in build.get("entitlements").sequence():
        yield _Want(key, _ENTITLEMENTS.get(key.text(), "privileged"))
    network = build.get("network")
    if network.text() == "host":
        yield _Want(network, "host-network")
    elif network.text().startswith("container:"):
        _unsupported(network, "a build in another container's network is not supported", "take it out")
    for name in ("ssh", "secrets"):
        if build.get(name).value:
            _unsupported(
                build.get(name),
                f"`build.{name}` is not supported: a build on the host sees the commit and its `args` alone",
                "put what the build needs into the repository, or fetch it when the app starts",
            )
    for key in _options(build.get("additional_contexts")).values():
        value = (
            key.text()
            if isinstance(build.get("additional_contexts").value, dict)
            else key.text().partition("=")[2]
        )
        scheme, colon, rest = value.partition("://")
        if scheme == "oci-layout" and colon:
            yield from _path(Key(key.path, rest), private)
        elif not colon and not value.startswith("service:"):
            yield from _path(Key(key.path, value), private)


# ---- volumes, configs, secrets --------------------------------------------------------------------------------


def _volume(name: str, volume: Key, project: str, private: str) -> Iterator[_Want]:
    """A volume must be the app's own: one by another name may be another app's."""
    called = volume.get("name").text() or (name if volume.get("external").value else "")
    if called and not (project and called.startswith(f"{project}_")):
        yield _Want(
            volume.get("name") if volume.get("name").given else volume, f"{allowances.VOLUME}{called}"
        )
    if volume.get("driver").text() not in ("", "local"):
        yield _Want(volume.get("driver"), "volume-driver")
        return
    options = volume.get("driver_opts")
    device, kind = options.get("device"), options.get("type").text()
    flags = options.get("o").text().split(",")
    if {"bind", "rbind"} & set(flags):
        if not device.text().startswith("/"):
            _unsupported(
                device,
                f"a volume that binds `{device.text()}`: Docker takes no path of the repository there",
                "mount the directory itself, such as ./uploads:/uploads",
            )
        yield from _path(device, private)
    elif options.value and kind != "tmpfs" and kind not in _NETWORK_FILE_SYSTEMS:
        yield _Want(options, "volume-driver")


def _file(item: Key, tracked: Tracked, private: str) -> Iterator[_Want]:
    """A config or secret: a file of the commit, of the host, or text; Swarm's own are not there."""
    if item.get("external").yes():
        _unsupported(
            item.get("external"),
            "external configs and secrets are kept by Swarm, which is not there",
            "use `environment: NAME` with `pushrod secret set NAME`, or a file of the repository",
        )
    key = item.get("file")
    if not key.given:
        return
    yield from _path(key, private)
    if not key.text().startswith("/") and not tracked(posixpath.normpath(key.text())):
        _unsupported(
            key,
            f"the file `{key.text()}` is not in the commit",
            "commit it; for a secret write `environment: NAME` instead of `file`, and `pushrod secret set NAME`",
        )

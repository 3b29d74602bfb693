"""How long each name, path and word of a manifest may be: what the kernel or Docker would refuse later; and names
that would be another directory. Pure."""

import itertools
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pushrod.core.errors import ManifestError
from pushrod.manifest.document import Key


class _Limit(NamedTuple):
    what: str
    most: int  # bytes


_SERVICE = _Limit("the name of a service", 63)  # it is a label of DNS: RFC 1035, 2.3.4
_HOST = _Limit("a host name", 253)  # as text: RFC 1035, 2.3.4
_FILE = _Limit("a file's name", 255)  # NAME_MAX of Linux
_VOLUME = _Limit("a volume's or network's name with the app's in front", 255)  # Docker makes it a directory
_PATH = _Limit("a path", 4095)  # PATH_MAX of Linux without the final NUL
_WORD = _Limit("one argument, or one variable with its name,", 131071)  # MAX_ARG_STRLEN, the same: execve(2)

_SHOWN = 40  # characters of such a text in an error


def check(top: Key) -> None:
    """Raise ManifestError for the first name, path or word of a resolved document that is too long, or that would be
    another directory."""
    app = top.get("name").text()
    for kind in ("services", "networks", "volumes", "configs", "secrets"):
        for name in {".", ".."} & top.get(kind).mapping().keys():
            raise ManifestError(
                f"`{name}` cannot be a name: files are named after it",
                where=f"{kind}.{name}",
                hint="give it a name with a letter",
            )
    for name, service in top.get("services").mapping().items():
        _within(name, f"services.{_short(name)}", _SERVICE)
        _check_service(service)
    for kind in ("networks", "volumes"):
        for name, key in top.get(kind).mapping().items():
            own = key.get("name") if isinstance(key.value, dict) else Key(key.path, None)
            _within(own.text() or f"{app}_{name}", f"{kind}.{_short(name)}", _VOLUME)
    for kind in ("configs", "secrets"):
        for name in top.get(kind).mapping():
            _within(name, f"{kind}.{_short(name)}", _FILE)


def _check_service(service: Key) -> None:
    for read, check in _READERS.items():
        for key, text in read(service):
            check(text, key.path)


def _check_host(text: str, where: str) -> None:
    _within(text, where, _HOST)


def _check_path(text: str, where: str) -> None:
    _within(text, where, _PATH)
    for part in text.split("/"):
        _within(part, where, _FILE)


def _check_word(text: str, where: str) -> None:
    _within(text, where, _WORD)


def _within(text: str, where: str, limit: _Limit) -> None:
    count = len(text.encode(errors="surrogatepass"))
    if count > limit.most:
        raise ManifestError(
            f"`{_short(text)}` has {count} bytes, and {limit.what} has at most {limit.most}",
            where=where if len(where) < _PATH.most else _short(where),
            hint="use a shorter one",
        )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


# ---- where they are ---------------------------------------------------------------------------------------------

_Texts = Iterator[tuple[Key, str]]


def _hosts(service: Key) -> _Texts:
    for name in ("container_name", "hostname", "domainname"):
        yield service.get(name), _scalar(service.get(name))
    networks = service.get("networks")
    if isinstance(networks.value, dict):
        for network in networks.mapping().values():
            if isinstance(network.value, dict):
                yield from _items(network.get("aliases"))
    for link in _keys(service.get("links")):
        yield link, _scalar(link).rpartition(":")[2]


def _paths(service: Key) -> _Texts:
    yield service.get("working_dir"), _scalar(service.get("working_dir"))
    for mount in _keys(service.get("volumes")):
        if isinstance(mount.value, dict):
            yield mount.get("target"), _scalar(mount.get("target"))
            if mount.get("type").value == "bind":
                yield mount.get("source"), _scalar(mount.get("source"))
    for place in _keys(service.get("tmpfs")):
        yield place, _scalar(place).partition(":")[0]
    for kind, directory in (("configs", "/"), ("secrets", "/run/secrets")):
        for item in _keys(service.get(kind)):
            if isinstance(item.value, dict) and isinstance(item.get("target").value, str):
                yield item.get("target"), posixpath.join(directory, _scalar(item.get("target")))
    build = service.get("build")
    for name in ("context", "dockerfile") if isinstance(build.value, dict) else ():
        yield build.get(name), _scalar(build.get(name))


def _words(service: Key) -> _Texts:
    for name in ("command", "entrypoint"):
        yield from _items(service.get(name))
    yield from _assigned(service.get("environment"))
    for parent, name in (("build", "args"), ("healthcheck", "test"), ("x-pushrod", "release")):
        if isinstance(service.get(parent).value, dict):
            inner = service.get(parent).get(name)
            yield from _assigned(inner) if name == "args" else _items(inner)
    for hook in itertools.chain(*(_keys(service.get(n)) for n in ("post_start", "pre_stop"))):
        if isinstance(hook.value, dict):
            yield from _items(hook.get("command"))
            yield from _assigned(hook.get("environment"))


def _assigned(key: Key) -> _Texts:
    """Each variable as `NAME=value`."""
    if isinstance(key.value, dict):
        yield from ((item, f"{name}={_scalar(item)}") for name, item in key.mapping().items())
    else:
        yield from _items(key)


def _items(key: Key) -> _Texts:
    yield from ((item, _scalar(item)) for item in _keys(key))


def _keys(key: Key) -> list[Key]:
    """The items of a list, or the one value; the readers of the keys refuse what has another form."""
    return key.sequence() if isinstance(key.value, list) else [key]


def _scalar(key: Key) -> str:
    return str(key.value) if isinstance(key.value, str | int | float) else ""


_READERS: Mapping[Callable[[Key], _Texts], Callable[[str, str], None]] = {
    _hosts: _check_host,
    _paths: _check_path,
    _words: _check_word,
}

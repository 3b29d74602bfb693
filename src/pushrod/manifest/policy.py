"""A resolved compose document becomes one that holds only what is allowed, within the host's limits. Pure.

`keys` says what becomes of each key. Here are the rules for values: each takes the value of one key and returns what
is left of it, with notes about what was taken. What nobody has classified, and what needs a word that the host's
owner has not given, is refused by name.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pushrod.core.errors import ManifestError
from pushrod.core.limits import Limits, written
from pushrod.core.values import EngineName, Manifest
from pushrod.manifest import discovery, grants, keys, refused
from pushrod.manifest.document import Key, duration
from pushrod.manifest.refused import Tracked, Want

Document = dict[str, Any]

LOG_SIZE, LOG_FILES = 10 << 20, 3
"""Bytes of one log file, and how many of them, of a container that says nothing."""

EXPENDABLE = 200
"""The least OOM score of an instance (proc(5), `oom_score_adj`): the kernel ends it before stores and the host."""

_HOUR, _TEN_MINUTES, _RETRIES = 3600.0, 600.0, 100
_SHARES = (2, 1024)  # Docker's least, and what a container has that says nothing

# Sysctls of a container's own namespaces that Docker takes and that cost nobody else anything: its network's (queues
# and time-outs, ports) and its IPC's, which its memory limit bounds.
_SYSCTLS = re.compile(
    r"net\.core\.somaxconn|net\.ipv4\.(ip_unprivileged_port_start|ip_local_port_range|ping_group_range)"
    r"|net\.ipv4\.tcp_(keepalive_(time|intvl|probes)|fin_timeout|syn_retries|synack_retries|syncookies|tw_reuse"
    r"|max_syn_backlog|rmem|wmem|retries[12]|slow_start_after_idle|timestamps|fastopen"
    r"|ecn|sack|window_scaling|mtu_probing|notsent_lowat|no_metrics_save|orphan_retries|max_tw_buckets)"
    r"|kernel\.(msg(max|mnb|mni)|sem|shm(all|max|mni|_rmid_forced))"
    r"|fs\.mqueue\.[a-z_]+"
)
# Limits of a process that only take away, or that the container's memory and tasks bound anyway.
_ULIMITS = ("as", "cpu", "data", "fsize", "locks", "memlock", "nofile", "nproc", "rss", "stack")
_TMPFS = re.compile(r"mode=[0-7]{3,4}|[ug]id=[0-9]{1,10}|exec|noexec|nosuid|nodev|ro|rw")
_PROPAGATION = (
    "rprivate",
    "private",
    "rslave",
    "slave",
)  # the others carry mounts of the container to the host
_RESERVED = ("pushrod.", "com.docker.")
_NAMESPACES = {
    "pid": ("host-pid", ()),
    "ipc": ("host-ipc", ("private", "shareable", "none")),
    "uts": ("host-uts", ()),
    "userns_mode": ("host-userns", ()),
    "cgroup": ("host-cgroup", ("private",)),
    "network_mode": ("host-network", ("none", "bridge", "default")),
}
# Options that leave a container as confined as Docker makes it, `:` written as `=`.
_CONFINED = ("seccomp=builtin", "apparmor=docker-default")


class Terms(NamedTuple):
    """What an app may ask for: `allowed` are words of `grants`; `tracked` says whether the commit has a path (a
    file, or a directory with files in it); `private` is the directory of pushrod's own files, which no word opens."""

    engine: EngineName
    limits: Limits
    allowed: Collection[str] = ()
    tracked: Tracked = lambda _: True
    private: str = ""


class Permitted(NamedTuple):
    """The document with what is allowed of it, and notes about what is not."""

    document: Document
    notes: tuple[str, ...]


def apply(document: object, terms: Terms) -> Permitted:
    """The part of a resolved document that may run on an engine.

    Raises ManifestError about the first key that is unknown, refused, of no use, or needs a word that the owner has
    not given; that one's hint names the words for all such keys.
    """
    top = Key("", document)
    reading = _Reading(terms, top.get("name").text())
    _count(top, terms.limits)
    found = reading.mapping(top, "")
    wants = [w for w in reading.wants if not grants.covered(w.word, terms.allowed)]
    if wants:
        refused.refuse(wants, reading.app or "APP")
    return Permitted(found, reading.notes)


def within(wanted: Manifest, limits: Limits) -> Manifest:
    """The manifest, with `keep` within the host's limit. ManifestError for too many instances and stores."""
    count = sum(s.replicas for s in wanted.stateless if s.role != "job") + len(wanted.stores)
    if count > limits.containers:
        _too_many("containers", count, limits.containers, "services")
    if wanted.keep <= limits.releases:
        return wanted
    note = f"`x-pushrod.keep` is {limits.releases}, the most that this host keeps ({_option('releases')})"
    return msgspec.structs.replace(wanted, keep=limits.releases, notes=(*wanted.notes, note))


def paced(check: Mapping[str, float], limits: Limits) -> Document:
    """What an image's own health check says beyond the host's limits, brought down: keys of Compose's `healthcheck`.

    `check` has its times in seconds, by Compose's names; 0 is Docker's default.
    """
    reading = _Reading(Terms("docker", limits), "")
    given = {name: Key(name, value) for name, value in check.items() if value}
    bounded = {n: RULES[f"services.*.healthcheck.{n}"](reading, k) for n, k in given.items()}
    found = {name: value for name, value in bounded.items() if value != given[name].value}
    if "start_interval" in found:  # Compose takes it only beside the other
        found.setdefault("start_period", f"{check.get('start_period', 0):g}s")
    return found


def _count(top: Key, limits: Limits) -> None:
    bounds = {
        "services": limits.services,
        "networks": limits.volumes,
        "volumes": limits.volumes,
        "configs": limits.files,
        "secrets": limits.files,
    }
    for kind, most in bounds.items():
        if (count := len(top.get(kind).mapping())) > most:
            _too_many(kind, count, most, kind)


def _too_many(kind: str, count: int, most: int, where: str) -> None:
    limit = {"networks": "volumes", "configs": "files", "secrets": "files"}.get(kind, kind)
    raise ManifestError(
        f"{count} {kind}, and this host takes {most} of an app",
        where=where,
        hint=f"use fewer; the host's owner can raise it: pushrod host limits {limit}={count}",
    )


# ---- the walk -------------------------------------------------------------------------------------------------

_OWNERS = ("services", "networks", "volumes", "configs", "secrets")

_GONE = object()
"""What a rule returns of a value of which nothing is left."""


class _Reading:
    """One document on its way: what is wanted of the owner, and what is noted."""

    def __init__(self, terms: Terms, app: str) -> None:
        self.terms, self.limits, self.app = terms, terms.limits, app
        self.wants: list[Want] = []
        self.owner = Key("", None)  # the service, or volume, that is being read
        self._said: dict[str, list[str]] = {}
        self._left: dict[str, list[str]] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was said, each once, for all the services that it holds for."""
        said = self._said | {f"{_listed(words)} not applied": whose for words, whose in self._by_words()}
        return tuple(f"{', '.join(dict.fromkeys(whose))}: {what}" for what, whose in said.items())

    def _by_words(self) -> Iterator[tuple[tuple[str, ...], list[str]]]:
        whose: dict[tuple[str, ...], list[str]] = {}
        for name, words in self._left.items():
            whose.setdefault(tuple(dict.fromkeys(words)), []).append(name)
        yield from whose.items()

    def note(self, what: str) -> None:
        """Say that the app gets other than what its file asks for."""
        self._said.setdefault(what, []).append(self._whose())

    def leave(self, key: Key) -> object:
        """Leave a key out, and say so."""
        self._left.setdefault(self._whose(), []).append(self.name(key))
        return _GONE

    def name(self, key: Key) -> str:
        """A key's path within its service or volume."""
        return re.sub(r"\[[0-9]+\]", "", key.path.removeprefix(self.owner.path).lstrip("."))

    def _whose(self) -> str:
        kind, _, name = self.owner.path.partition(".")
        return name if kind == "services" else f"{kind.removesuffix('s')} {name}"

    def has(self, word: str) -> bool:
        """Whether the owner has given a word."""
        return grants.covered(word, self.terms.allowed)

    def want(self, key: Key, word: str) -> object:
        """Keep a value that needs the owner's word."""
        self.wants.append(Want(key, word))
        return key.value

    def value(self, key: Key, path: str) -> object:
        """What is left of a value."""
        row, rule = keys.TABLE.get(path), RULES.get(path)
        if row is not None:
            return self._ruled(key, row)
        if rule is not None and self.terms.engine == "docker":
            return rule(self, key)
        if isinstance(key.value, list):
            kept = (self.value(item, path) for item in key.sequence())
            return [item for item in kept if item is not _GONE]
        if isinstance(key.value, dict) and keys.holds_keys(path):
            return self.mapping(key, path)
        if key.value is None or path in keys.WORDED:
            return key.value
        return key.wrong("a mapping")

    def mapping(self, key: Key, path: str) -> Document:
        """What is left of a mapping; a key that has no row is refused by its name."""
        found: Document = {}
        for name, item in key.mapping().items():
            if path in _OWNERS:
                self.owner = item
            if name.startswith("x-"):
                if name == "x-pushrod":
                    found[name] = item.value
                continue
            below = f"{path}.{name}" if path else name
            if not (below in keys.TABLE or keys.holds_keys(below)):
                below = f"{path}.*" if path else "*"
            if not (below in keys.TABLE or keys.holds_keys(below)):
                self._unknown(item, name, path)
            value = _GONE if self._is_replaced(item, path) else self.value(item, below)
            if value is not _GONE:
                found[name] = value
        return found

    def _is_replaced(self, key: Key, path: str) -> bool:
        """Whether the edge takes a service's place, which finds the others by Docker's socket and is not given it."""
        named = path == "services" and self.terms.engine == "docker"
        if not named or self.has("docker-socket") or not discovery.asks_docker(key):
            return False
        word = f"pushrod apps allow {self.app or 'APP'} docker-socket"
        self.note(
            f"the edge takes its place, as it finds services by Docker's socket; with the owner's word: {word}"
        )
        return True

    def _ruled(self, key: Key, row: keys.Row) -> object:
        fate = row.fate(self.terms.engine)
        if fate == "refused" and key.value not in (None, [], {}, False):
            _refuse(key)
        if self.terms.engine == "embedded":
            return RULES[row.path](self, key) if fate == "bounded" else key.value
        if fate == "noted" and key.value not in (None, [], {}, False, "", 0):
            return self.leave(key)
        if fate in ("noted", "ignored"):
            return _GONE
        rule = RULES.get(row.path)
        return rule(self, key) if rule and key.value is not None else key.value

    def _unknown(self, key: Key, name: str, path: str) -> None:
        place = f"{path}." if path else ""
        known = {p.removeprefix(place).partition(".")[0] for p in keys.TABLE if p.startswith(place)} - {"*"}
        raise ManifestError(
            f"unknown key `{name}`",
            where=key.path,
            hint=f"nothing is known of it, so it is not let through; known here: {', '.join(sorted(known))}",
        )


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


_REFUSED = {
    "provider": ("another program is not run in a service's place", "run it as a service of its own image"),
    "models": ("`models` are not supported", "run the model as a service"),
    "dockerfile_inline": (
        "expected a Dockerfile in a file of its own (`dockerfile: Dockerfile`)",
        "write the lines into a file and commit it",
    ),
    "ssh": (
        "`build.ssh` is not supported: a build on the host sees the commit and its `args` alone",
        "put what the build needs into the repository, or fetch it when the app starts",
    ),
    "secrets": (
        "`build.secrets` is not supported: a build on the host sees the commit and its `args` alone",
        "put what the build needs into the repository, or fetch it when the app starts",
    ),
    "image": ("another image's files cannot be mounted", "copy them in the Dockerfile: COPY --from=…"),
    "external": (
        "external configs and secrets are kept by Swarm, which is not there",
        "use `environment: NAME` with `pushrod secret set NAME`, or a file of the repository",
    ),
}


def _refuse(key: Key) -> None:
    what, hint = _REFUSED[key.path.rpartition(".")[2]]
    raise ManifestError(what, where=key.path, hint=hint)


# ---- the rules: rights ----------------------------------------------------------------------------------------


def _namespace(on: _Reading, key: Key) -> object:
    name, text = key.path.rpartition(".")[2], key.text()
    word, own = _NAMESPACES[name]
    if text == "host":
        return on.want(key, word)
    if text.startswith(("container:", "service:")):
        refused.unsupported(
            key,
            f"`{name}: {text}` is not supported: two releases run at once, so each instance has its own",
            "take it out; services of a release reach each other by their names",
        )
    return text if text in ("", *own) else on.leave(key)


def _privileged(on: _Reading, key: Key) -> object:
    return on.want(key, "privileged") if key.yes() else _GONE


def _capabilities(on: _Reading, key: Key) -> object:
    kept, left = [], []
    for item in key.sequence():
        name = grants.capability(item.text())
        if name in grants.ROOT_CAPABILITIES:
            kept.append(item.value)
        elif name in grants.DEFAULT_CAPABILITIES and not on.has(name):
            left.append(name)
        else:
            on.want(item, name)
            kept.append(item.value)
    if left:
        words = " ".join(left)
        on.note(
            f"{', '.join(left)} of `cap_add` not given; with the owner's word: pushrod apps allow {on.app} {words}"
        )
    return kept or _GONE


def _security(on: _Reading, key: Key) -> object:
    kept = []
    for item in key.sequence():
        option = item.text().replace(":", "=", 1)
        name, _, value = option.partition("=")
        if name == "no-new-privileges":
            if value in ("", "true") or on.has("unconfined"):
                kept.append(item.value)
            else:
                on.note("`no-new-privileges` stays on: programs of another owner (setuid) gain nothing")
        elif option in _CONFINED:
            kept.append(item.value)
        else:
            on.want(item, "unconfined")
            kept.append(item.value)
    return kept or _GONE


def _sysctls(on: _Reading, key: Key) -> object:
    kept, left = {}, []
    for name, item in refused.options(key).items():
        value = item.text().partition("=")[2] if isinstance(key.value, list) else item.text()
        if not _SYSCTLS.fullmatch(name) and name.startswith("net.") and not on.has("sysctls"):
            left.append(name)
            continue
        if not _SYSCTLS.fullmatch(name):
            on.want(item, "sysctls")
        kept[name] = value
    if left:
        on.note(f"{_listed(left)} of `sysctls` not applied")
    return kept or _GONE


def _worded_if_given(word: str) -> "Rule":
    return lambda on, key: on.want(key, word) if key.value else _GONE


def _runtime(on: _Reading, key: Key) -> object:
    return key.value if key.text() in ("", "runc") else on.want(key, "runtime")


def _labels(on: _Reading, key: Key) -> object:
    given = refused.options(key)
    if isinstance(key.value, list):
        given = {name: Key(item.path, item.text().partition("=")[2]) for name, item in given.items()}
    taken = [name for name in given if name.startswith(_RESERVED)]
    if taken:
        on.note(f"its labels {_listed(taken)} are left out: the host reads its own there")
    return {name: item.value for name, item in given.items() if name not in taken} or _GONE


# ---- the rules: amounts ---------------------------------------------------------------------------------------


def _whole(key: Key) -> int:
    """A whole number, also one below zero or written as text."""
    value = key.value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        key.wrong("a whole number")
    return value


def _bytes(key: Key) -> int:
    """A size as Compose prints it (bytes), or as it is written (`10m`, `1gb`); below zero where it has no bound."""
    found = re.fullmatch(r"(-?[0-9]{1,18})(?:\.[0-9]{1,9})?\s*([kmgt]?)i?b?", key.text().lower())
    if not found:
        key.wrong("a size such as 512m")
    return int(found[1]) << 10 * " kmgt".index(found[2] or " ")


def _least(on: _Reading, key: Key, value: int, name: str) -> int:
    """A number that is at most the limit of that name; none, or one below zero, asks for no bound at all."""
    most: int = getattr(on.limits, name)
    if 0 < value <= most:
        return value
    on.note(f"`{on.name(key)}` is {written(name, most)}, the most that this host gives ({_option(name)})")
    return most


def _option(name: str) -> str:
    return f"limit {name.replace('_', '-')}"


def _sized(name: str) -> "Rule":
    def rule(on: _Reading, key: Key) -> object:
        value = _bytes(key)
        return str(_least(on, key, value, name)) if value else _GONE

    return rule


def _pids(on: _Reading, key: Key) -> object:
    value = _whole(key)
    return _least(on, key, value, "pids") if value else _GONE


def _mode(on: _Reading, key: Key) -> object:
    return key.value if key.text() == "replicated" else on.leave(key)


def _replicas(on: _Reading, key: Key) -> object:
    value = key.whole(1)
    if value > on.limits.containers:
        _too_many("containers", value, on.limits.containers, key.path)
    return value


def _cpus(on: _Reading, key: Key) -> object:
    try:
        value = float(key.text() or 0)
    except ValueError:
        key.wrong("a number of processors")
    if not value:
        return _GONE
    if 0 < value <= on.limits.cpus:
        return key.value
    on.note(f"`{on.name(key)}` is {on.limits.cpus}, all that this host gives ({_option('cpus')})")
    return str(on.limits.cpus)


def _cpuset(on: _Reading, key: Key) -> object:
    last = [int(n) for n in re.findall(r"[0-9]{1,6}", key.text())]
    fits = re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*", key.text())
    return key.value if fits and max(last) < on.limits.cpus else on.leave(key)


def _shares(on: _Reading, key: Key) -> object:
    value, (low, high) = _whole(key), _SHARES
    if value and not low <= value <= high:
        on.note(f"`cpu_shares` is between {low} and {high}")
    return min(max(value, low), high) if value else _GONE


def _swap(on: _Reading, key: Key) -> object:
    """Memory and swap together: Docker takes no less than the memory alone."""
    resources = on.owner.get("deploy").get("resources").get("limits").get("memory")
    given = resources if resources.given else on.owner.get("mem_limit")
    memory = min((_bytes(given) if given.given else 0) or on.limits.memory, on.limits.memory)
    value = _bytes(key)
    return key.value if memory <= value <= 2 * memory else on.leave(key) if value else _GONE


def _oom_score(on: _Reading, key: Key) -> object:
    value = _whole(key)
    if value < 0:
        on.note("`oom_score_adj` is not below 0: the host's own programs are ended last")
    return min(max(value, 0), 1000)


def _ulimits(on: _Reading, key: Key) -> object:
    kept: Document = {}
    for name, item in key.mapping().items():
        if name not in _ULIMITS:
            on.leave(item)
        elif name != "nofile":
            kept[name] = item.value
        elif isinstance(item.value, dict):
            given = {k: v for k in ("soft", "hard") if (v := item.get(k)).given}
            kept[name] = {k: _least(on, v, _whole(v), "open_files") for k, v in given.items()}
        else:
            kept[name] = _least(on, item, _whole(item), "open_files")
    return kept or _GONE


def _tmpfs(on: _Reading, key: Key) -> object:
    items = key.sequence() if isinstance(key.value, list) else [key]
    return [_one_tmpfs(on, item) for item in items]


def _one_tmpfs(on: _Reading, key: Key) -> str:
    target, _, text = key.text().partition(":")
    if not target.startswith("/") or "," in target:
        key.wrong("a path in the container, such as /tmp:size=64m")
    return f"{target}:{_tmpfs_options(on, key, text)}"


def _tmpfs_options(on: _Reading, key: Key, text: str) -> str:
    """The options of a tmpfs that are allowed, with a size, which is bounded."""
    kept, bytes_ = [], on.limits.tmpfs
    for option in filter(None, text.split(",")):
        name, _, value = option.partition("=")
        if name == "size":
            size = Key(f"{key.path}.size", value)
            bytes_ = _least(on, size, -1 if value.endswith("%") else _bytes(size), "tmpfs")
        elif _TMPFS.fullmatch(option):
            kept.append(option)
        else:
            on.note(f"`{name[:40]}` of `tmpfs` not applied")
    return ",".join([f"size={bytes_}", *kept])


def _period(most: float, *, floor: bool = False) -> "Rule":
    def rule(on: _Reading, key: Key) -> object:
        found = key.value if isinstance(key.value, int | float) else duration(key.text())
        if found is None:
            key.wrong("a duration such as 30s or 1m30s")
        low = on.limits.health_interval if floor else 0.0
        bounded = min(max(float(found), low), most) if found else 0.0
        if bounded == float(found):
            return key.value
        side = "least" if bounded > found else "most"
        on.note(f"`{on.name(key)}` is {bounded:g} s, the {side} that this host takes")
        return f"{round(bounded * 1000)}ms"

    return rule


def _start_interval(on: _Reading, key: Key) -> object:
    """Compose takes it only beside a `start_period`."""
    beside = on.owner.get("healthcheck").get("start_period").given or not on.owner.given
    return _period(_HOUR, floor=True)(on, key) if beside else on.leave(key)


def _stop_grace(on: _Reading, key: Key) -> object:
    return _period(on.limits.stop_grace)(on, key)


def _retries(on: _Reading, key: Key) -> object:
    value = key.whole(0)
    if value > _RETRIES:
        on.note(f"`healthcheck.retries` is {_RETRIES}, the most that this host takes")
    return min(value, _RETRIES)


def _log_driver(on: _Reading, key: Key) -> object:
    if key.text() in ("json-file", "local", "none", ""):
        return key.value
    on.note(f"logs stay on the host, in the app's own files: `logging.driver: {key.text()[:40]}` not applied")
    return "json-file"


def _log_options(on: _Reading, key: Key) -> object:
    left = [name for name in key.mapping() if name not in ("max-size", "max-file")]
    if left:
        on.note(f"{_listed(name[:40] for name in left)} of `logging.options` not applied")
    kept: Document = {}
    if (given := key.get("max-size")).given:
        found = _bytes(given)
        most = _least(on, given, found, "log_size")
        kept["max-size"] = given.text() if most == found else str(most)
    if (given := key.get("max-file")).given:
        kept["max-file"] = str(_least(on, given, _whole(given), "log_files"))
    return kept or _GONE


# ---- the rules: mounts, volumes, files ------------------------------------------------------------------------


def _mount(on: _Reading, key: Key) -> object:
    """A mount, which the loader prints as a mapping, however it is written."""
    if not isinstance(key.value, dict):
        key.wrong("a mount as a mapping")
    if key.get("type").text() == "bind" and not key.get("source").text():
        key.wrong("a bind mount with a source")
    on.wants += refused.mount(key, on.terms.private)
    found = on.mapping(key, "services.*.volumes")
    if found.get("type") == "tmpfs":
        found["tmpfs"] = {"size": str(on.limits.tmpfs), **(found.get("tmpfs") or {})}
    return found


def _mounts(on: _Reading, key: Key) -> object:
    return [_mount(on, item) for item in key.sequence()]


def _references(_: _Reading, key: Key) -> object:
    """The configs or secrets of a service, each by its name."""
    for item in key.sequence():
        if isinstance(item.value, dict) and not item.get("source").text():
            item.wrong("one with a source")
    return key.value


def _propagation(on: _Reading, key: Key) -> object:
    return key.value if key.text() in _PROPAGATION else on.leave(key)


def _volumes_from(_: _Reading, key: Key) -> object:
    for item in key.sequence():
        if item.text().startswith("container:"):
            refused.unsupported(
                item, "it mounts the volumes of a container that is not the app's", "name the volume instead"
            )
    return key.value


def _contexts(on: _Reading, key: Key) -> object:
    on.wants += refused.contexts(key, on.terms.private)
    return on.leave(key)


def _file(on: _Reading, key: Key) -> object:
    on.wants += refused.file(key, on.terms.tracked, on.terms.private)
    return key.value


def _volume(on: _Reading, key: Key) -> object:
    """A volume as a whole: whose it is by its name, and what it is by its driver and options."""
    name = key.path.partition(".")[2]
    on.wants += refused.volume(name, key, on.app, on.terms.private)
    found = on.mapping(key, "volumes.*") if key.given else {}
    options = key.get("driver_opts")
    if options.get("type").text() == "tmpfs" and not on.has("volume-driver"):
        words = _tmpfs_options(on, options.get("o"), options.get("o").text())
        found["driver_opts"] = {"type": "tmpfs", "device": "tmpfs", "o": f"{words},nosuid,nodev"}
    return found


Rule = Callable[[_Reading, Key], object]

RULES: Mapping[str, Rule] = {
    "services.*.cap_add": _capabilities,
    "services.*.cgroup": _namespace,
    "services.*.configs": _references,
    "services.*.cpu_shares": _shares,
    "services.*.cpus": _cpus,
    "services.*.cpuset": _cpuset,
    "services.*.device_cgroup_rules": _worded_if_given("devices"),
    "services.*.devices": _worded_if_given("devices"),
    "services.*.gpus": _worded_if_given("devices"),
    "services.*.ipc": _namespace,
    "services.*.labels": _labels,
    "services.*.mem_limit": _sized("memory"),
    "services.*.mem_reservation": _sized("memory"),
    "services.*.memswap_limit": _swap,
    "services.*.network_mode": _namespace,
    "services.*.oom_score_adj": _oom_score,
    "services.*.pid": _namespace,
    "services.*.pids_limit": _pids,
    "services.*.privileged": _privileged,
    "services.*.runtime": _runtime,
    "services.*.scale": _replicas,
    "services.*.secrets": _references,
    "services.*.security_opt": _security,
    "services.*.shm_size": _sized("shm"),
    "services.*.stop_grace_period": _stop_grace,
    "services.*.sysctls": _sysctls,
    "services.*.tmpfs": _tmpfs,
    "services.*.ulimits": _ulimits,
    "services.*.use_api_socket": _worded_if_given("docker-socket"),
    "services.*.userns_mode": _namespace,
    "services.*.uts": _namespace,
    "services.*.volumes": _mounts,
    "services.*.volumes_from": _volumes_from,
    "services.*.volumes.bind.propagation": _propagation,
    "services.*.volumes.tmpfs.size": _sized("tmpfs"),
    "services.*.build.additional_contexts": _contexts,
    "services.*.deploy.mode": _mode,
    "services.*.deploy.replicas": _replicas,
    "services.*.deploy.resources.limits.cpus": _cpus,
    "services.*.deploy.resources.limits.memory": _sized("memory"),
    "services.*.deploy.resources.limits.pids": _pids,
    "services.*.deploy.resources.reservations.devices": _worded_if_given("devices"),
    "services.*.deploy.resources.reservations.memory": _sized("memory"),
    "services.*.healthcheck.interval": _period(_HOUR, floor=True),
    "services.*.healthcheck.retries": _retries,
    "services.*.healthcheck.start_interval": _start_interval,
    "services.*.healthcheck.start_period": _period(_HOUR),
    "services.*.healthcheck.timeout": _period(_TEN_MINUTES),
    "services.*.logging.driver": _log_driver,
    "services.*.logging.options": _log_options,
    "services.*.post_start.privileged": _privileged,
    "services.*.pre_stop.privileged": _privileged,
    "volumes.*": _volume,
    "configs.*.file": _file,
    "secrets.*.file": _file,
}
"""The rule of each key that is bounded or needs a word, and of some others whose form is checked."""

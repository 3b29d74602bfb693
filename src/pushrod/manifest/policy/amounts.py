"""The rules for amounts: memory, processors, processes, times, logs, each within the host's limits. Pure."""

import re

from pushrod.core.patterns import lazy
from pushrod.manifest.document import Key, duration
from pushrod.manifest.policy.counts import too_many
from pushrod.manifest.policy.reading import GONE, Document, Reading, Rule, at_most, limit_option, listed

LOG_SIZE, LOG_FILES = 10 << 20, 3
"""Bytes of one log file, and the number of files, unless the manifest sets them."""

EXPENDABLE = 200
"""The lowest OOM score of an instance (proc(5), `oom_score_adj`): the kernel ends it before stores and the host."""

HOUR, TEN_MINUTES, _RETRIES = 3600.0, 600.0, 100
_SHARES = (2, 1024)  # Docker's minimum, and its default
# Limits of a process that only restrict it, or that the container's memory and tasks bound anyway.
_ULIMITS = ("as", "cpu", "data", "fsize", "locks", "memlock", "nofile", "nproc", "rss", "stack")
_TMPFS = lazy(r"mode=[0-7]{3,4}|[ug]id=[0-9]{1,10}|exec|noexec|nosuid|nodev|ro|rw")


def _whole(key: Key) -> int:
    """A whole number, which may be negative or written as text."""
    value = key.value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        key.wrong("a whole number")
    return value


def _bytes(key: Key) -> int:
    """A size as Compose prints it (bytes) or as it is written (`10m`, `1gb`); negative if it is unlimited."""
    match = re.fullmatch(r"(-?[0-9]{1,18})(?:\.[0-9]{1,9})?\s*([kmgt]?)i?b?", key.text().lower())
    if not match:
        key.wrong("a size such as 512m")
    return int(match[1]) << 10 * " kmgt".index(match[2] or " ")


def sized(name: str) -> "Rule":
    def rule(on: Reading, key: Key) -> object:
        value = _bytes(key)
        return str(at_most(on, key, value, name)) if value else GONE

    return rule


def pids(on: Reading, key: Key) -> object:
    value = _whole(key)
    return at_most(on, key, value, "pids") if value else GONE


def mode(on: Reading, key: Key) -> object:
    return key.value if key.text() == "replicated" else on.leave(key)


def replicas(on: Reading, key: Key) -> object:
    value = key.whole(1)
    if value > on.limits.containers:
        too_many("containers", value, on.limits.containers, key.path)
    return value


def cpus(on: Reading, key: Key) -> object:
    try:
        value = float(key.text() or 0)
    except ValueError:
        key.wrong("a number of processors")
    if not value:
        return GONE
    if 0 < value <= on.limits.cpus:
        return key.value
    on.note(f"`{on.name(key)}` is {on.limits.cpus}, all that this host allows ({limit_option('cpus')})")
    return str(on.limits.cpus)


def cpuset(on: Reading, key: Key) -> object:
    last = [int(n) for n in re.findall(r"[0-9]{1,6}", key.text())]
    fits = re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*", key.text())
    return key.value if fits and max(last) < on.limits.cpus else on.leave(key)


def shares(on: Reading, key: Key) -> object:
    value, (low, high) = _whole(key), _SHARES
    if value and not low <= value <= high:
        on.note(f"`cpu_shares` is between {low} and {high}")
    return min(max(value, low), high) if value else GONE


def swap(on: Reading, key: Key) -> object:
    """Memory and swap together: Docker does not accept less than the memory alone."""
    resources = on.owner.get("deploy").get("resources").get("limits").get("memory")
    given = resources if resources.given else on.owner.get("mem_limit")
    memory = min((_bytes(given) if given.given else 0) or on.limits.memory, on.limits.memory)
    value = _bytes(key)
    return key.value if memory <= value <= 2 * memory else on.leave(key) if value else GONE


def oom_score(on: Reading, key: Key) -> object:
    value = _whole(key)
    if value < 0:
        on.note("`oom_score_adj` is not below 0: the host's own programs are killed last")
    return min(max(value, 0), 1000)


def ulimits(on: Reading, key: Key) -> object:
    kept: Document = {}
    for name, item in key.mapping().items():
        if name not in _ULIMITS:
            on.leave(item)
        elif name != "nofile":
            kept[name] = item.value
        elif isinstance(item.value, dict):
            given = {k: v for k in ("soft", "hard") if (v := item.get(k)).given}
            kept[name] = {k: at_most(on, v, _whole(v), "open_files") for k, v in given.items()}
        else:
            kept[name] = at_most(on, item, _whole(item), "open_files")
    return kept or GONE


def tmpfs(on: Reading, key: Key) -> object:
    items = key.sequence() if isinstance(key.value, list) else [key]
    return [_one_tmpfs(on, item) for item in items]


def _one_tmpfs(on: Reading, key: Key) -> str:
    target, _, text = key.text().partition(":")
    if not target.startswith("/") or "," in target:
        key.wrong("a path in the container, such as /tmp:size=64m")
    return f"{target}:{tmpfs_options(on, key, text)}"


def tmpfs_options(on: Reading, key: Key, text: str) -> str:
    """The allowed options of a tmpfs, including a size within the limits."""
    kept, bytes_ = [], on.limits.tmpfs
    for option in filter(None, text.split(",")):
        name, _, value = option.partition("=")
        if name == "size":
            size = Key(f"{key.path}.size", value)
            bytes_ = at_most(on, size, -1 if value.endswith("%") else _bytes(size), "tmpfs")
        elif _TMPFS.fullmatch(option):
            kept.append(option)
        else:
            on.note(f"`{name[:40]}` of `tmpfs` not applied")
    return ",".join([f"size={bytes_}", *kept])


def period(most: float, *, floor: bool = False) -> "Rule":
    def rule(on: Reading, key: Key) -> object:
        seconds = key.value if isinstance(key.value, int | float) else duration(key.text())
        if seconds is None:
            key.wrong("a duration such as 30s or 1m30s")
        low = on.limits.health_interval if floor else 0.0
        bounded = min(max(float(seconds), low), most) if seconds else 0.0
        if bounded == float(seconds):
            return key.value
        side = "least" if bounded > seconds else "most"
        on.note(f"`{on.name(key)}` is {bounded:g} s, the {side} that this host allows")
        return f"{round(bounded * 1000)}ms"

    return rule


def start_interval(on: Reading, key: Key) -> object:
    """Compose accepts it only together with `start_period`."""
    beside = on.owner.get("healthcheck").get("start_period").given or not on.owner.given
    return period(HOUR, floor=True)(on, key) if beside else on.leave(key)


def stop_grace(on: Reading, key: Key) -> object:
    return period(on.limits.stop_grace)(on, key)


def retries(on: Reading, key: Key) -> object:
    value = key.whole(0)
    if value > _RETRIES:
        on.note(f"`healthcheck.retries` is {_RETRIES}, the most that this host allows")
    return min(value, _RETRIES)


def log_driver(on: Reading, key: Key) -> object:
    if key.text() in ("json-file", "local", "none", ""):
        return key.value
    on.note(f"logs stay on the host, in the app's own files: `logging.driver: {key.text()[:40]}` not applied")
    return "json-file"


def log_options(on: Reading, key: Key) -> object:
    left = [name for name in key.mapping() if name not in ("max-size", "max-file")]
    if left:
        on.note(f"{listed(name[:40] for name in left)} of `logging.options` not applied")
    kept: Document = {}
    if (given := key.get("max-size")).given:
        size = _bytes(given)
        most = at_most(on, given, size, "log_size")
        kept["max-size"] = given.text() if most == size else str(most)
    if (given := key.get("max-file")).given:
        kept["max-file"] = str(at_most(on, given, _whole(given), "log_files"))
    return kept or GONE

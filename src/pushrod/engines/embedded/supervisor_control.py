"""Control of supervisord over its socket: what runs, starting it, and stopping it in order."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pushrod.core.errors import HostError
from pushrod.core.values import ProcessState
from pushrod.engines.embedded.supervisor_files import Place
from pushrod.system import tails

_LONG = 60.0  # seconds of grace for a process that is no longer configured
_STOP_MARGIN = 5.0  # seconds past a process's grace: supervisord checks once a second, then kills

# supervisor.states.ProcessStates
_STOPPED, _STARTING, _RUNNING, _BACKOFF, _STOPPING, _EXITED, _FATAL, _UNKNOWN = (
    0,
    10,
    20,
    30,
    40,
    100,
    200,
    1000,
)
_ACTIVE = (_STARTING, _RUNNING, _BACKOFF)
_AT_REST = (_STOPPED, _FATAL, _UNKNOWN)  # not _EXITED: supervisord is about to restart it
_State = Literal["starting", "running", "backoff", "failed", "stopping", "stopped"]
_STATES: Mapping[int, _State] = {
    _STOPPED: "stopped",
    _STARTING: "starting",
    _RUNNING: "running",
    _BACKOFF: "backoff",
    _STOPPING: "stopping",
    _EXITED: "backoff",
    _FATAL: "failed",
    _UNKNOWN: "failed",
}


class Target(NamedTuple):
    """A process to start or stop: its priority and its grace period."""

    group: str
    name: str
    priority: int
    grace: float

    @property
    def full_name(self) -> str:
        return f"{self.group}:{self.name}"


class Control:
    """The supervisord of one directory, which must run. Every method may raise HostError."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of supervisord's XML-RPC interface."""
        from pushrod.engines.embedded import rpc

        return rpc.call(self._place.socket, method, *arguments)

    def _infos(self) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = self.call("supervisor.getAllProcessInfo")
        return infos

    def states(self) -> Iterator[ProcessState]:
        """The current state of all processes."""
        yield from map(_state, self._infos())

    def order(self, group: str | None = None) -> list["Target"]:
        """The loaded processes with their configured priority and grace period; the highest priority first."""
        targets = [
            Target(c["group"], c["name"], c["process_prio"], c["stopwaitsecs"])
            for c in self.call("supervisor.getAllConfigInfo")
            if c["inuse"] and group in (None, c["group"])
        ]
        known = {t.full_name for t in targets}
        targets += [  # loaded, but no longer configured
            Target(i["group"], i["name"], 0, _LONG)
            for i in self._infos()
            if group in (None, i["group"]) and f"{i['group']}:{i['name']}" not in known
        ]
        return sorted(targets, key=lambda t: t.priority, reverse=True)

    def known(self, group: str, name: str | None = None) -> list["Target"]:
        """The processes of a group, or the one of this name. Raises HostError if there is none."""
        order = [t for t in self.order(group) if name in (None, t.name)]
        if not order:
            hint = "`pushrod status` lists what there is"
            raise HostError(f"the supervisor has no process {group}:{name or '*'}", hint=hint)
        return order

    def start(self, group: str, name: str | None = None) -> None:
        """Start inactive processes, the lowest priority first. supervisord starts a process within the call."""
        idle = {i["name"] for i in self._infos() if i["group"] == group and i["state"] not in _ACTIVE}
        if not idle:
            return
        order = [t for t in self.order(group) if t.name in idle and name in (None, t.name)]
        order.sort(key=lambda t: (t.priority, t.name))
        from pushrod.engines.embedded import rpc

        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("supervisor.startProcess", (t.full_name, False)) for t in order
        ]
        if calls:
            rpc.call_all(self._place.socket, calls, ignore=(rpc.ALREADY_STARTED,))

    def stop(self, order: Iterable["Target"]) -> None:
        """Stop processes, one priority after the other, the highest first; return when all have ended."""
        levels: dict[int, list[Target]] = {}
        for target in order:
            levels.setdefault(target.priority, []).append(target)
        for priority in sorted(levels, reverse=True):
            self._stop_level({t.full_name: t for t in levels[priority]})

    def _stop_level(self, targets: Mapping[str, "Target"]) -> None:
        from pushrod.engines.embedded import rpc

        deadline = time.monotonic() + max(t.grace for t in targets.values()) + _STOP_MARGIN
        pause = 0.005
        while True:
            infos = {f"{i['group']}:{i['name']}": i for i in self._infos()}
            left = [i for n, i in infos.items() if n in targets and i["state"] not in _AT_REST]
            if not left:
                return
            active = [f"{i['group']}:{i['name']}" for i in left if i["state"] in _ACTIVE]
            if active:
                calls: list[tuple[str, tuple[Any, ...]]] = [
                    ("supervisor.stopProcess", (n, False)) for n in active
                ]
                rpc.call_all(self._place.socket, calls, ignore=(rpc.NOT_RUNNING,))
            if time.monotonic() > deadline:
                names = ", ".join(f"{i['group']}:{i['name']} ({i['pid']})" for i in left)
                raise HostError(
                    f"does not end, not even by SIGKILL: {names}", log=tails.of_file(self._place.log, 20)
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)


def _state(info: Mapping[str, Any]) -> ProcessState:
    state = info["state"]
    began = info["stop"] if state in (_STOPPED, _EXITED, _BACKOFF, _FATAL) else info["start"]
    return ProcessState(
        group=info["group"],
        name=info["name"],
        state=_STATES[state],
        pid=info["pid"],
        since=float(max(0, info["now"] - began)) if began else 0.0,
        detail=info["spawnerr"] if state in (_BACKOFF, _EXITED, _FATAL, _UNKNOWN) else "",
    )

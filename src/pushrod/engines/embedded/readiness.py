"""Whether a release's instances are ready: each is probed until it is healthy, has ended, or is out of time."""

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pushrod.core.errors import ReadyError
from pushrod.core.patterns import lazy
from pushrod.core.values import Health, Instance, ProcessState, Release, Service
from pushrod.engines import health
from pushrod.engines.embedded.ports import SHARED
from pushrod.engines.settling import Settling
from pushrod.system import descendants, tails

States = Callable[[], Iterable[ProcessState]]
# runs an instance's health command; returns why it is not healthy, or an empty text
Command = Callable[[Instance], str]
_PORTS = (
    0.5  # seconds for which an answer to which ports a process listens on is kept: it costs more than a probe
)
_SURE = 5.0  # seconds on the manifest's own port after which a process will not use the one it was given
_STATES = (
    0.2  # seconds between two questions to the supervisor, which cost it and us as much as a start can spare
)
_BUSY = 2.0  # deadlines for which a busy machine may make a start longer


class Readiness:
    """One starting release. `log` gives an instance's log."""

    def __init__(
        self, release: Release, states: States, command: Command, log: Callable[[str], Path]
    ) -> None:
        self._release = release
        self._states = states
        self._command = command
        self._log = log
        self._pids: dict[str, int] = {}
        self._settlings: dict[str, Settling] = {}
        self._listening: dict[
            str, tuple[float, set[int]]
        ] = {}  # when each instance's ports were read, and which
        self._elsewhere: dict[str, float] = {}  # since when an instance listens on the manifest's own port

    def wait(self) -> list[str]:
        """Probe every instance until it is healthy. Raises ReadyError at an instance's deadline, or once one ends.

        Returns notes on healthy ones.
        """
        started = time.monotonic()
        waiting = list(self._release.instances)
        asked, states = -_STATES, dict[str, ProcessState]()
        while waiting:
            if time.monotonic() - asked >= _STATES or not all(states[i.name].pid for i in waiting):
                asked, states = time.monotonic(), self._running_states()
            reasons = {i.name: self._why_not(i, states[i.name]) for i in waiting}
            waiting = [i for i in waiting if reasons[i.name]]
            for instance in waiting:
                if late := self._late(instance, states[instance.name], time.monotonic() - started):
                    raise self._error(instance, f"{late}: {reasons[instance.name]}")
            if waiting:
                time.sleep(min(self._service(i).health.interval for i in waiting))
        self._running_states()
        return self._first_pages()

    def _late(self, instance: Instance, state: ProcessState, took: float) -> str:
        """That an instance is past its deadline; empty if it is not. Time for which a busy machine had no processor
        for it does not count, up to twice the deadline.
        """
        deadline = self._service(instance).health.deadline
        if took <= deadline:
            return ""
        queued = min(descendants.queued(state.pid), _BUSY * deadline) if state.pid else 0.0
        if took <= deadline + queued:
            return ""
        busy = f" ({queued:.0f} s longer, because this machine had no processor for it)"
        return f"was not healthy within {deadline:g} s{busy if queued >= 1 else ''}"

    def _first_pages(self) -> list[str]:
        """Request `/` from the entry, if it has only proved that it listens."""
        checked = self._release.service(self._release.entry).health
        if checked.path or checked.command:
            return []
        entries = self._release.instances_of(self._release.entry)
        return health.first_pages(self._release, entries, checked.deadline, self._running_states)

    def _running_states(self) -> dict[str, ProcessState]:
        """The supervisor's state of every instance. Raises ReadyError if one has ended, even if it was healthy."""
        states = {s.name: s for s in self._states()}
        for instance in self._release.instances:
            state = states.get(instance.name)
            if state is None or state.state in ("failed", "backoff", "stopped"):
                raise self._ended(instance)
            if state.pid and self._pids.setdefault(instance.name, state.pid) != state.pid:
                raise self._ended(instance)
        return states

    def _why_not(self, instance: Instance, state: ProcessState) -> str:
        """Why an instance is not healthy yet, or an empty text."""
        service = self._service(instance)
        if not state.pid:
            return "its process has not started"
        if service.health.command:
            why = self._command(instance)
            if (
                not why and service.name in self._release.serving
            ):  # a check may know another port than the edge
                why = health.problem(instance, Health())
            return why and self._with_ports(instance, service, state.pid, why)
        if service.name in self._release.serving or service.health.path:
            why = health.problem(instance, service.health)
            return why and self._with_ports(instance, service, state.pid, why)
        settling = self._settlings.setdefault(instance.name, Settling())
        return "" if settling.settled(state.pid, service.health.settle) else "it is still starting"

    def _with_ports(self, instance: Instance, service: Service, pid: int, why: str) -> str:
        """Why it is not healthy, with the ports that it listens on instead. Raises ReadyError once it is certain that
        it uses the manifest's port, whatever it is given.
        """
        ports = self._ports(instance, pid)
        if not ports or instance.port in ports:
            return why
        if service.port not in ports:
            self._elsewhere.pop(instance.name, None)
        elif time.monotonic() - self._elsewhere.setdefault(instance.name, time.monotonic()) > _SURE:
            raise self._error(
                instance,
                f"listens on port {service.port}, not on {instance.port}, which it is given in $PORT",
                _PORT,
            )
        return f"{why}; it listens on {', '.join(map(str, sorted(ports)))}"

    def _ports(self, instance: Instance, pid: int) -> set[int]:
        read, ports = self._listening.get(instance.name, (0.0, set()))
        if (now := time.monotonic()) - read >= _PORTS:
            ports = listening(pid) or set()
            self._listening[instance.name] = now, ports
        return ports

    def _service(self, instance: Instance) -> Service:
        return self._release.service(instance.service)

    def _ended(self, instance: Instance) -> ReadyError:
        error = self._error(instance, "ended at boot")
        if instance.address == SHARED and _TAKEN.search("\n".join(error.log)):
            why = f"ended at boot: it listens on a port in use, not on {instance.port}, which it is given in $PORT"
            return self._error(instance, why, _PORT)
        if instance.service not in self._release.serving:
            error.hint = f"{_ENDING}. Otherwise: {error.hint}"
        return error

    def _error(self, instance: Instance, why: str, hint: str = "") -> ReadyError:
        return ReadyError(
            f"{instance.name} {why}",
            where=f"instance {instance.name} of release {self._release.number}",
            hint=hint
            or f"{health.advice(why)}the end of its log is above; the live release is unchanged; "
            "fix it and push again",
            log=tails.of_file(self._log(instance.name)),
        )


_TAKEN = lazy("address (?:already )?in use|EADDRINUSE", re.IGNORECASE)
_ENDING = (
    "if it is to end, have the service that needs it wait with `condition: service_completed_successfully`, or write "
    "its command as `x-pushrod: {release: …}` of that service"
)
_PORT = (
    "the kernel of this machine gives instances no address of their own (it refuses user namespaces or seccomp "
    "filters), so each has its own port: read PORT in the code, or write the port in the command (`--port 8000`), "
    "where pushrod replaces it; where the kernel allows them, and on a host with Docker, nothing has to change"
)


def listening(pid: int) -> set[int] | None:
    """The TCP ports that a process and those below it listen on; None if that cannot be determined."""
    import psutil

    try:
        connections = [c for p in descendants.family(pid) for c in p.net_connections("tcp")]
    except psutil.NoSuchProcess:
        return set()
    except psutil.Error:
        return None
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr}

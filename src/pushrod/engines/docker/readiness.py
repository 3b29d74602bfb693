"""Wait until every instance of a release has proved that it can serve."""

import time
from collections.abc import Callable, Mapping

import msgspec

from pushrod.adapters import docker, start_failures
from pushrod.adapters.docker import Container
from pushrod.adapters.docker.healthcheck import ended_well
from pushrod.core import lines
from pushrod.core.errors import ReadyError
from pushrod.core.values import Health, Instance, Release
from pushrod.engines import health, health_rule
from pushrod.engines.settling import Settling

_POLL = 0.1  # seconds between two checks of the containers
_CHECK = 0.5  # seconds between two runs of a container's own check; each starts a process
_CHECK_TIMEOUT = 10.0
_DEADLINE = 60.0  # seconds for an instance without a configured deadline


class Readiness:
    """A release's instances while they are watched. `name` gives an instance's container."""

    def __init__(self, release: Release, name: Callable[[Instance], str]) -> None:
        self._release = release
        self._name = name
        self._settling = {i.name: Settling() for i in release.instances}
        self._checked: dict[str, float] = {}
        self._restarts: dict[str, int] = {}

    def wait(self) -> list[str]:
        """Wait until all are healthy; returns notes on healthy ones.

        Raises ReadyError as soon as one cannot become healthy any more, or at its deadline.
        """
        began = time.monotonic()
        waiting = {i.name: i for i in self._release.instances}
        seen: dict[str, Container] = {}
        while waiting:
            containers = {c.name: c for c in docker.inspect([self._name(i) for i in waiting.values()])}
            seen |= containers
            for instance in list(waiting.values()):
                why = self._problem(instance, containers.get(self._name(instance)))
                if not why:
                    del waiting[instance.name]
                elif time.monotonic() - began >= (deadline := self._deadline(instance, containers)):
                    raise self._error(instance, f"after {deadline:g} s: {why}")
            if waiting:
                time.sleep(_POLL)
        return self._first_pages(seen)

    def _first_pages(self, containers: Mapping[str, Container]) -> list[str]:
        """Request `/` from the entry, if it has only proved that it listens."""
        entries = self._release.instances_of(self._release.entry)
        asked = [i for i in entries if _way(containers.get(self._name(i))) == "port"]
        deadline = max((self._deadline(i, containers) for i in asked), default=0.0)

        def check_running() -> None:
            now = {c.name: c for c in docker.inspect([self._name(i) for i in asked])}
            for instance in asked:
                self._problem(instance, now.get(self._name(instance)))

        return health.first_pages(self._release, asked, deadline, check_running)

    def _deadline(self, instance: Instance, containers: Mapping[str, Container]) -> float:
        """The manifest's deadline; else as long as the image's own health check may take."""
        given = self._release.service(instance.service).health
        container = containers.get(self._name(instance))
        patience = container.patience if container else 0.0
        configured = msgspec.structs.replace(given, host="") != Health()
        return given.deadline if configured else max(_DEADLINE, patience)

    def _problem(self, instance: Instance, container: Container | None) -> str:
        """Why an instance is not healthy yet; empty once it is. Raises ReadyError for one that has ended."""
        if container is None:
            raise self._error(instance, "its container is gone")
        if ended_well(container.state, container.exit_code, container.started, container.policy):
            return ""
        # an old container may have been restarted long ago
        before = self._restarts.setdefault(instance.name, container.restarts)
        if container.state in ("exited", "dead", "restarting") or container.restarts > before:
            # A restarted container no longer reports how it ended.
            status = "" if container.running else f", with status {container.exit_code}"
            memory = "; it was killed because it exceeded its memory limit" if container.out_of_memory else ""
            raise self._error(instance, f"ended while starting{status}{memory}")
        if not container.running:
            return f"is {container.state}"
        asked = health_rule.of_labels(container.labels)
        if _way(container) == "check":
            return self._own_check(instance, container)
        if asked:
            return health_rule.problems([asked])[asked]
        settle = self._release.service(instance.service).health.settle
        return "" if self._settling[instance.name].settled(container.pid, settle) else "is still starting"

    def _own_check(self, instance: Instance, container: Container) -> str:
        """The container's own health check: Docker's latest result, or the result of running it now.

        Docker first runs it after one `interval`, which may be half a minute; an instance that already serves need
        not wait for that.
        """
        if container.health == "healthy":
            return ""
        if container.health == "unhealthy":
            raise self._error(instance, "is unhealthy, by its own health check")
        if not container.check or time.monotonic() - self._checked.get(instance.name, 0.0) < _CHECK:
            return "is starting, by its own health check"
        self._checked[instance.name] = time.monotonic()
        done = docker.execute(container.name, container.check, timeout=_CHECK_TIMEOUT)
        if done.status == 0:
            return ""
        output = lines.split((done.stdout + done.stderr).strip())
        return f"its health check ended with status {done.status}{': ' + output[-1] if output else ''}"

    def _error(self, instance: Instance, why: str) -> ReadyError:
        log = tuple(docker.logs(self._name(instance)))
        cause = start_failures.of_log(log) if why.startswith("ended") else None
        reason = f"{why}: {cause.what}" if cause else why
        hint = f"{cause.hint}; " if cause else health.advice(why)
        return ReadyError(
            f"{instance.name} is not healthy: {reason}",
            where=f"service {instance.service}",
            hint=f"{hint}its last lines are above; the live release is unchanged. Fix it and push again",
            log=log,
        )


def _way(container: Container | None) -> health_rule.Way:
    return health_rule.way(health_rule.of_labels(container.labels), container.health) if container else ""

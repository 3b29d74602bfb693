"""Whether the live release runs, with the proof of its health."""

from pushrod.core.times import seconds_since
from pushrod.core.values import Release
from pushrod.releases.context import Context
from pushrod.releases.serving import Serving

_SETTLING = 60.0
"""Seconds within which a restarted instance may not be healthy yet."""

_ROUNDING = 5.0  # seconds by which a process's start time and a record's time may differ


def runs(context: Context, serving: Serving, live: Release) -> bool:
    """Whether the whole live release is up. After a power cut its processes may have only just started, and the
    edge may have started without the app.
    """
    states = context.engine.runtime.states([context.app])[context.app.name]
    proved = _since_live(context, live) - _ROUNDING
    up = live.number in context.engine.runtime.running(context.app) and all(
        s.state == "running" or (s.state == "starting" and s.since > proved) for s in states
    )
    # The health of a restarted instance is unknown for a moment; the edge has the app's ready marker.
    restarted = any(s.group != "edge" and s.since < min(_SETTLING, proved) for s in states)
    reached = context.engine.runtime.reached(context.app, live)
    return up and reached and not restarted and serving.agrees(live)


def _since_live(context: Context, live: Release) -> float:
    """Seconds since the whole live release had proved its health: Docker reports it only after its own first
    check.
    """
    went = (e for e in context.journal.entries() if (e.event, e.release) == ("live", live.number))
    return min((seconds_since(e.at) for e in went), default=0.0)

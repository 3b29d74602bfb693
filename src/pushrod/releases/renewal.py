"""Certificates of all apps: list them, and renew them one after the other, as the timer does."""

import datetime
from collections.abc import Iterator, Sequence

from pushrod.adapters.openssl import Described, Pair
from pushrod.core.errors import BusyError, PushrodError
from pushrod.core.progress import Progress
from pushrod.core.values import Value
from pushrod.engines.protocols import Engine
from pushrod.ingress.certificates import Certificates, Kept, examine, names_for
from pushrod.releases.pipeline import Pipeline
from pushrod.releases.queue import LOCK_TIMEOUT
from pushrod.releases.rounds import Round
from pushrod.state import releases
from pushrod.state.apps import App
from pushrod.system import files

TURN = 900.0
"""Seconds for one app's certificate: an authority checks each of its names."""


class Row(Value, frozen=True):
    """An app that needs a certificate: its names, the source, the end of the validity of the one in use (empty: there
    is none), and the problem, if any.
    """

    app: str
    names: tuple[str, ...]
    source: str
    ends: str = ""
    problem: str = ""


def listed(apps: Sequence[App]) -> list[Row]:
    """A row for each app that needs a certificate, or has one."""
    return [row for app in apps if (row := _row(app)) is not None]


def _row(app: App) -> Row | None:
    release, kept = releases.live(app), Certificates(app).current()
    if release is None or (release.tls.source == "off" and kept is None):
        return None
    problem = "; ".join(diagnostic.detail for diagnostic in examine(app, release))
    return Row(
        app.name, names_for(release), release.tls.source, kept.certificate.ends if kept else "", problem
    )


def renew(
    engine: Engine, apps: Sequence[App], progress: Progress, *, force: bool = False, wait: bool = False
) -> Iterator[tuple[App, Kept] | PushrodError]:
    """Renew each app's certificate if due, in a fair order, each within TURN; returns the certificates in use.

    An app's error is collected, and the next app follows. With `wait` false, an app that another command works on is
    skipped until the next run, with a note.
    """
    turns = Round(engine.root, "renewal", LOCK_TIMEOUT + TURN if wait else TURN)
    for app in turns.order(apps):
        kept = None
        try:
            if _wants(app):
                with turns.turn(app):
                    line = Pipeline(app, engine, progress)
                    kept = line.certify(force=force, timeout=LOCK_TIMEOUT if wait else 0)
        except BusyError as e:
            if wait:
                yield e.of(app.name)
            else:
                progress.note(f"{app.name} is skipped until the next run: {e.what}")
        except PushrodError as e:
            yield e.of(app.name)
        except OSError as e:
            yield files.os_error(e, "").of(app.name)
        if kept:
            yield app, kept


def give(app: App, engine: Engine, progress: Progress, pair: Pair) -> tuple[Described, bool]:
    """Store an app's own certificate, and serve it if its live release uses it; returns whether it does.

    Raises StateError, and keeps the previous certificate, if the new one cannot be served.
    """
    described, release = Certificates(app).give(pair), releases.live(app)
    used = release is not None and release.tls.source == "files" and not app.settings.down
    if used:
        Pipeline(app, engine, progress).certify()
    return described, used


def left(ends: str) -> float:
    """Seconds until a time; negative after it."""
    return (datetime.datetime.fromisoformat(ends) - datetime.datetime.now(datetime.UTC)).total_seconds()


def _wants(app: App) -> bool:
    """Whether there is anything to do, without taking the lock: most apps of a root may have no certificate."""
    release = releases.live(app)
    return release is not None and release.tls.source != "off" and not app.settings.down

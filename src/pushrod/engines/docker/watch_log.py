"""What the watchdog and the timer of the layers' limit have done to an app's containers: `apps/NAME/watch.log`.

Standard library only; copied below ROOT like `watchdog`.
"""

import datetime
import json
from pathlib import Path


def record(app: Path, name: str, why: str, did: str) -> None:
    """Write one line to systemd's journal and one to the log in an app's directory."""
    print(f"{name} {why}: {did}", flush=True)  # noqa: T201 - systemd records the unit's output
    if app.is_dir():
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - any Python 3
        with (app / "watch.log").open("a") as log:
            log.write(json.dumps({"at": at, "container": name, "why": why, "did": did}) + "\n")

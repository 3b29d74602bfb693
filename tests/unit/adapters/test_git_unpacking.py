"""What Git reports about receiving a push: from a real push, and from files with unusual content."""

import shlex
import subprocess
from pathlib import Path

import pytest

from pushrod.adapters import git, git_unpacking
from pushrod.adapters.git_unpacking import Outcome
from pushrod.system import files

CHILD = '{"event":"child_start","sid":"a","child_id":0,"argv":["git","index-pack"]}\n'
ENDED = '{"event":"child_exit","sid":"a","child_id":0,"code":%d}\n'
ERROR = '{"event":"error","sid":"a/b","msg":"no"}\n'


def pushed(tmp_path: Path, *settings: str) -> tuple[int, Outcome]:
    """The status of a push of a 100 kB file, and the reported problem."""
    git.create_bare(tmp_path / "there")
    files.write(tmp_path / "there" / "hooks" / "pre-receive", "#!/bin/sh\ncat > /dev/null\n", mode=0o755)
    git.init(tmp_path)
    (tmp_path / "large").write_bytes(bytes(range(256)) * 400)
    git.commit_first(tmp_path, "first")
    for setting in settings:
        git.git(tmp_path / "there", "config", *setting.split("="))
    events = tmp_path / "events"
    assignments = shlex.join(f"{name}={value}" for name, value in git_unpacking.events_to(events).items())
    there = f"env -u GIT_TRACE2_PARENT_SID {assignments} git receive-pack"
    argv = ["git", "-C", str(tmp_path), "push", "--quiet", f"--receive-pack={there}", "there", "HEAD:main"]
    done = subprocess.run(argv, env=git.environment(), capture_output=True, timeout=60, check=False)
    return done.returncode, git_unpacking.outcome(events)


def test_a_received_push_is_reported(tmp_path: Path) -> None:
    assert pushed(tmp_path) == (0, Outcome(taken=True))


@pytest.mark.parametrize("limit", ["receive.unpackLimit=1", "receive.unpackLimit=1000"])
def test_a_push_that_is_too_large_is_refused(tmp_path: Path, limit: str) -> None:
    """Whichever program receives it."""
    status, report = pushed(tmp_path, "receive.maxInputSize=100", limit)
    assert status == 1
    assert report.problem.startswith("pack exceeds maximum allowed size")
    assert not report.taken


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("no JSON\n[]\n3\n{\n", ""),
        (CHILD + ERROR, ""),
        (CHILD + ERROR + ENDED % 0, ""),
        (CHILD + ERROR + ENDED % 128, "no"),
        (CHILD + ENDED % -9, "it ended without a message"),
        (ERROR + (CHILD + ENDED % 128).replace('"a"', '"a/b"'), ""),
        ((CHILD + ERROR + ENDED % 128).replace("index-pack", "gc"), ""),
        (CHILD.replace('["git","index-pack"]', "[[]]") + ENDED % 128, ""),
    ],
)
def test_the_outcome_is_read_from_the_events(tmp_path: Path, text: str, result: str) -> None:
    (tmp_path / "events").write_text(text)
    assert git_unpacking.outcome(tmp_path / "events") == Outcome(result)

"""The installer, which stands alone: what it leaves alone, and what it prints."""

import hashlib
import sys
from pathlib import Path

from pushrod.provisioning import installer, packages
from pushrod.system import files, processes


def test_an_installed_version_is_left_alone(tmp_path: Path) -> None:
    """Run by a bare Python as over SSH, with its text on standard input."""
    wheel = tmp_path / "pushrod-0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    (prefix / installer.NAME).write_text(hashlib.sha256(b"wheel").hexdigest())
    with Path(installer.__file__).open("rb") as source:
        done = processes.run([sys.executable, "-I", "-S", "-", prefix, wheel], stdin=source, timeout=20)
    assert (done.status, done.stdout) == (0, f"{prefix} has this version already\n"), done.stderr
    assert [p.name for p in prefix.iterdir()] == [installer.NAME]


def test_an_interrupted_installation_does_not_count_as_complete(tmp_path: Path) -> None:
    """The mark is removed first and written last."""
    (tmp_path / "wheel").write_bytes(b"no wheel at all")
    prefix = tmp_path / "prefix"
    (prefix / "bin").mkdir(parents=True)
    (prefix / installer.NAME).write_text("older")
    for name in ("pip", "python"):
        files.write(prefix / "bin" / name, "#!/bin/sh\nexit 3\n", mode=0o755)
    done = processes.run(
        [sys.executable, "-I", "-S", installer.__file__, prefix, tmp_path / "wheel"], timeout=20
    )
    assert (done.status, "ended with status 3" in done.stderr) == (1, True)
    assert installer.installed(prefix) == ""


def test_it_calls_apt_get_as_the_other_modules_do() -> None:
    assert installer.APT_OPTIONS == packages.APT_OPTIONS

"""Installs pushrod's wheel in a virtual environment of its own; run by a bare Python, here or on another machine.

Standard library only: over SSH its text is sent and run before anything of pushrod exists there.

    python3 -I installer.py PREFIX WHEEL

Does nothing if PREFIX already has this wheel; otherwise replaces PREFIX's content, including its packages.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NAME = "installed-from"
"""The file in PREFIX with the digest of the installed wheel."""
APT_OPTIONS = ("-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0")
"""As in packages.py, which this file cannot import."""


def main(arguments: list[str]) -> None:
    """Install, unless that is done already. Exits with status 1 and one line of output if it fails."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python {sys.version.split()[0]} is too old: 3.11 is needed, which Debian 12 and Ubuntu 24.04 have"
        )
    prefix, wheel = map(Path, arguments)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if installed(prefix) == digest:
        print(f"{prefix} has this version already", flush=True)  # noqa: T201
        return
    (prefix / NAME).unlink(missing_ok=True)
    if not (prefix / "bin" / "pip").exists():
        if importlib.util.find_spec("ensurepip") is None:
            apt("python3-venv")
        run(sys.executable, "-m", "venv", "--clear", str(prefix))
    pip = [str(prefix / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, f"{wheel}[host,web]")
    run(*pip, "--force-reinstall", "--no-deps", str(wheel))
    (prefix / NAME).write_text(digest)
    print(f"pushrod is installed in {prefix}", flush=True)  # noqa: T201


def installed(prefix: Path) -> str:
    """The digest of the wheel installed in PREFIX; empty if the installation is incomplete."""
    try:
        return (prefix / NAME).read_text().strip()
    except OSError:
        return ""


def apt(package: str) -> None:
    """Install one of the distribution's packages."""
    if shutil.which("apt-get") is None:
        sys.exit(f"{package} is missing, and there is no apt-get to install it")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "-qq", *APT_OPTIONS, "update")
    run("apt-get", "-qq", *APT_OPTIONS, "install", "--no-install-recommends", package)


def run(*argv: str) -> None:
    """Run a program; exit if it fails."""
    print(" ".join(argv), flush=True)  # noqa: T201
    status = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL).returncode
    if status:
        sys.exit(f"{argv[0]} ended with status {status}")


if __name__ == "__main__":
    main(sys.argv[1:])

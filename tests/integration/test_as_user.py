"""The projects of `test_laptop_shapes.py` deployed by an ordinary user, on a kernel that allows user namespaces and
on one that refuses them. Tests that run as root start those files again as such a user, in a copy of this checkout
with an environment of its own, which that user can read.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

from pushrod.adapters.binaries import Parts
from tests.conftest import spread
from tests.unit.engines.embedded import kernel

SOURCE = Path(__file__).parents[2]
COPIED = ("devtools", "pyproject.toml", "src", "tests")
ALLOWED, REFUSED = "test_laptop_shapes.py", "test_shapes_refused.py"
# One that needs names, addresses and a store, one that needs paths, and one that needs neither.
SOME = {
    ALLOWED: "test_it_answers and (parts or stages or procfile)",
    REFUSED: "test_each and (call or stages or procfile)",
}
LONGEST = 1200.0


def lacking() -> str:
    """Why it cannot be done here; empty if it can."""
    if os.geteuid() != 0:
        return "the tests run as an ordinary user, so those files have done it"
    done = kernel.run([kernel.PYTHON, "-c", "import sys; print(sys.version_info >= (3, 11))"])
    return "" if done.stdout.strip() == "True" else "no Python 3.11 or newer that every user can run"


pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(lacking()), reason=lacking())]


def needed() -> list[str]:
    """What pushrod needs on the embedded engine, and its tests."""
    requirements = map(Requirement, metadata.requires("pushrod") or ())
    used = [r for r in requirements if not r.marker or r.marker.evaluate({"extra": "embedded"})]
    return [f"{r.name}{r.specifier}" for r in used] + ["pytest", "hypothesis"]


class Desk(NamedTuple):
    """A copy of this checkout, and its interpreter, for everybody."""

    checkout: Path
    python: Path
    home: Path

    def passed(self, file: str, chosen: str = "") -> int:
        """The number of tests of a file that passed as the user; the others must be skipped."""
        own = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/integration/{file}"]
        if chosen:
            own += ["-k", chosen]
        environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTEST", "VIRTUAL_ENV"))}
        environment |= {"HOME": str(self.home), "USER": "nobody", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            kernel.as_user(own),
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        print(done.stdout[-20_000:], done.stderr[-2000:])
        assert done.returncode == 0, f"pytest ended with status {done.returncode}"
        counted = re.search(r"(\d+) passed", done.stdout)
        return int(counted[1]) if counted else 0


@pytest.fixture(scope="module")
def desk(place: Path) -> Iterator[Desk]:
    """Made from the locked dependencies, which this checkout's own environment has already fetched."""
    top = place / "desk"
    checkout, home = top / "checkout", top / "home"
    for name in COPIED:
        source, target = SOURCE / name, checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    home.mkdir()
    os.chown(home, kernel.USER, kernel.USER)
    python = top / "venv" / "bin" / "python"
    uv, lock = [str(Parts().uv), "--quiet"], SOURCE / "requirements.lock"
    for argv in (
        [*uv, "venv", "--python", kernel.PYTHON, str(top / "venv")],
        [
            *uv,
            "pip",
            "install",
            "--link-mode=copy",
            f"--constraint={lock}",
            "--python",
            str(python),
            *needed(),
        ],
    ):
        done = kernel.run(argv)
        assert done.returncode == 0, done.stderr
    packages = next((top / "venv" / "lib").glob("python*/site-packages"))
    (packages / "checkout.pth").write_text(f"{checkout / 'src'}\n")
    subprocess.run(["chmod", "-R", "a+rX", str(top)], check=True, timeout=60)
    yield Desk(checkout, python, home)
    shutil.rmtree(top)


@pytest.mark.parametrize("file", spread(SOME, 1))
def test_some_projects_by_an_ordinary_user(desk: Desk, file: str) -> None:
    assert desk.passed(file, SOME[file]) >= 3


@pytest.mark.long
@pytest.mark.parametrize("file", SOME)
def test_every_project_by_an_ordinary_user(desk: Desk, file: str) -> None:
    assert desk.passed(file) > 30

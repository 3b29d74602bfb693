"""Environments made by uv, and the project's own programs in them."""

import subprocess
from pathlib import Path

from pushrod.engines.embedded.builds import python_builds
from pushrod.engines.embedded.builds.python_locks import Lock


def test_argvs_with_named_packages_and_constraints(tmp_path: Path) -> None:
    lock = Lock(
        "poetry", (tmp_path / "pyproject.toml",), tmp_path, requirements=("a",), constraints=("a==1",)
    )
    made, install = python_builds.argvs(lock, Path("/env"))
    assert made[1:3] == ["venv", "--quiet"]
    assert install[-4:] == ["-c", "/env/pushrod-constraints.txt", "-r", "/env/pushrod-requirements.txt"]


def test_hashes_are_not_asked_of_named_packages(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("a==1 --hash=sha256:0\n")
    lock = Lock("requirements", (tmp_path / "requirements.txt",), tmp_path, requirements=("b",))
    _, first, second = python_builds.argvs(lock, Path("/env"))
    assert "--require-hashes" in first
    assert "--require-hashes" not in second


def test_identity_depends_on_everything(tmp_path: Path) -> None:
    lock = Lock("named", (), tmp_path, requirements=("a",))
    result = {
        python_builds.identity(one, tmp_path)
        for one in (
            None,
            lock,
            lock._replace(requirements=("b",)),
            lock._replace(constraints=("a==1",)),
            lock._replace(scripts=(("run", "a:main"),)),
        )
    }
    assert len(result) == 5


def test_the_projects_own_programs(tmp_path: Path) -> None:
    """They run the code of the checkout that is on the path."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shop.py").write_text(
        "class App:\n    @staticmethod\n    def main():\n        return 'sold'\n"
    )
    lock = Lock("nothing", (), tmp_path, scripts=(("shop", "shop:App.main"),))
    python_builds.install("web", lock, tmp_path, tmp_path / "env", print)
    done = subprocess.run(
        [tmp_path / "env" / "bin" / "shop"],
        env={"PYTHONPATH": str(tmp_path / "code")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "sold\n")

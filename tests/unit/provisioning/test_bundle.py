"""The wheel of the running pushrod: pip accepts it, and it contains the package."""

import sys
import zipfile
from importlib import metadata
from io import BytesIO
from pathlib import Path

import pytest

import pushrod
from pushrod.provisioning import bundle
from pushrod.system import processes


@pytest.mark.slow
def test_the_wheel_contains_the_running_package() -> None:
    with zipfile.ZipFile(BytesIO(bundle.render(bundle.files()))) as wheel:
        names = set(wheel.namelist())
        assert wheel.testzip() is None
        assert wheel.read("pushrod/provisioning/bundle.py") == Path(bundle.__file__).read_bytes()
    package = Path(pushrod.__file__).parent
    expected = {f"pushrod/{p.relative_to(package)}" for p in package.rglob("*") if p.is_file()}
    assert {n for n in names if n.startswith("pushrod/")} == {n for n in expected if "__pycache__" not in n}


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes() -> None:
    assert bundle.render(bundle.files()) == bundle.render(bundle.files())
    assert len(bundle.digest()) == 64


@pytest.mark.slow
def test_the_wheel_can_be_installed(tmp_path: Path) -> None:
    """uv checks RECORD against the files, as the format requires."""
    wheel = bundle.write(tmp_path)
    target = tmp_path / "target"
    uv = Path(sys.prefix) / "bin" / "uv"
    argv: list[str | Path] = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--offline",
        "--target",
        target,
        wheel,
    ]
    done = processes.run(argv, timeout=60)
    assert done.status == 0, done.stderr
    (actual,) = metadata.distributions(path=[str(target)])
    assert (actual.name, actual.version) == ("pushrod", metadata.version("pushrod"))
    assert {e.name for e in actual.entry_points} == {"pushrod"}
    result = processes.run(
        [sys.executable, "-c", "import pushrod; print(pushrod.__file__)"], env={"PYTHONPATH": str(target)}
    )
    assert result.stdout.startswith(str(target))

"""Environments of images with the real uv: built, reused, awaited, and never used half finished."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pushrod.adapters.binaries import Parts
from pushrod.core.errors import BuildError
from pushrod.core.values import Build, Image, Service
from pushrod.engines.embedded.builds import images
from pushrod.engines.embedded.builds.environments import MARKER
from pushrod.system import processes, waits

pytestmark = pytest.mark.integration

PATIENCE = 60.0
"""Seconds after which a condition that does not hold is a failure."""

WEB = Service(
    name="web", role="entry", build=Build(context="backend"), command=("python", "-c", "import six")
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    write(tmp_path / "checkout/backend/requirements.txt", "six==1.16.0\n")
    return tmp_path / "checkout"


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    return tmp_path / "environments"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def build(checkout: Path, environments: Path, service: Service = WEB) -> tuple[Image, list[str]]:
    lines: list[str] = []
    return images.build(service, checkout, environments, lines.append), lines


def python(image: Image, code: str) -> str:
    result = processes.run([f"{image.location}/bin/python", "-c", code], env={})
    assert result.status == 0, result.stderr
    return result.stdout.strip()


def test_requirements_are_installed_once(checkout: Path, environments: Path) -> None:
    image, lines = build(checkout, environments)
    assert image.location == str(environments / image.id)
    assert (image.command, image.directory) == (("python", "-c", "import six"), "backend")
    assert python(image, "import six, sys; print(six.__version__, sys.prefix)") == f"1.16.0 {image.location}"
    assert lines[0] == "web: installing from backend/requirements.txt"
    assert any("Installed 1 package" in line for line in lines)
    assert list(Path(image.location).glob("lib/python*/site-packages/__pycache__/six.*.pyc"))
    write(checkout / "backend/app.py", "changed = True")
    assert build(checkout, environments) == (image, [])
    assert images.identify(WEB, checkout) == image.id


def test_another_lock_needs_another_environment(checkout: Path, environments: Path) -> None:
    first, _ = build(checkout, environments)
    write(checkout / "backend/requirements.txt", "six==1.17.0\n")
    second, _ = build(checkout, environments)
    assert python(first, "import six; print(six.__version__)") == "1.16.0"
    assert python(second, "import six; print(six.__version__)") == "1.17.0"


def test_an_environment_is_readable_by_everyone(checkout: Path, environments: Path) -> None:
    before = os.umask(0o077)
    try:
        image, _ = build(checkout, environments)
    finally:
        os.umask(before)
    made = [p for p in Path(image.location).rglob("*") if not p.is_symlink() and p.suffix in (".cfg", "")]
    assert made
    assert [str(p) for p in made if p.name != MARKER and not p.stat().st_mode & 0o004] == []


def test_a_uv_lock_is_installed(tmp_path: Path, environments: Path) -> None:
    checkout = tmp_path / "checkout"
    project = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six==1.16.0"]\n'
    write(checkout / "backend/pyproject.toml", project + '[dependency-groups]\ndev = ["iniconfig"]\n')
    uv = str(Parts().uv)
    locked = processes.run(
        [uv, "lock", "--python", sys.executable], cwd=checkout / "backend", timeout=PATIENCE
    )
    assert locked.status == 0, locked.stderr
    before = sorted(p.name for p in (checkout / "backend").iterdir())
    image, _ = build(checkout, environments)
    assert python(image, "import six; print(six.__version__)") == "1.16.0"
    find = "import importlib.util as u; print(u.find_spec('iniconfig'), u.find_spec('shop'))"
    assert python(image, find) == "None None"
    assert sorted(p.name for p in (checkout / "backend").iterdir()) == before
    assert build(checkout, environments) == (image, [])


def test_dependencies_of_a_project_without_a_lock_are_installed(tmp_path: Path, environments: Path) -> None:
    project = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["six==1.16.0"]\n'
    write(tmp_path / "checkout/backend/pyproject.toml", project)
    image, _ = build(tmp_path / "checkout", environments)
    assert python(image, "import six; print(six.__version__)") == "1.16.0"


def test_a_project_without_dependencies_has_an_environment(tmp_path: Path, environments: Path) -> None:
    write(tmp_path / "checkout/backend/app.py", "")
    image, lines = build(tmp_path / "checkout", environments)
    assert python(image, "import sys; print(sys.prefix)") == image.location
    assert lines == []


def test_a_failed_installation_is_reported_and_removed(checkout: Path, environments: Path) -> None:
    write(checkout / "backend/requirements.txt", "six==0.0.0.0.1\n")
    with pytest.raises(BuildError) as refused:
        build(checkout, environments)
    assert refused.value.what == "web: its dependencies cannot be installed"
    assert refused.value.where == "backend/requirements.txt"
    assert any("six" in line for line in refused.value.log)
    assert [p for p in environments.iterdir() if p.is_dir()] == []
    write(checkout / "backend/requirements.txt", "six==1.16.0\n")
    assert build(checkout, environments)[0].location


def test_a_wrong_hash_is_refused(checkout: Path, environments: Path) -> None:
    write(checkout / "backend/requirements.txt", f"six==1.16.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(BuildError) as refused:
        build(checkout, environments)
    assert any("hash" in line.lower() for line in refused.value.log)


def test_a_program_that_the_dependencies_do_not_provide_is_refused(
    checkout: Path, environments: Path
) -> None:
    service = Service(
        name="web", role="entry", build=Build(context="backend"), command=("uvicorn-of-nobody",)
    )
    with pytest.raises(BuildError, match="uvicorn-of-nobody"):
        build(checkout, environments, service)


def test_concurrent_builds_install_once(checkout: Path, environments: Path) -> None:
    actual: list[tuple[Image, list[str]]] = []
    threads = [
        threading.Thread(target=lambda: actual.append(build(checkout, environments))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len({image.id for image, _ in actual}) == 1
    assert len(actual) == 4
    assert sum(any("Installed 1 package" in line for line in lines) for _, lines in actual) == 1


BUILDER = """
import json, sys
from pathlib import Path
from pushrod.engines.embedded.builds import images
from pushrod.core.values import Build, Service
service = Service(name="web", role="entry", build=Build(context="backend"), command=("python", "-V"))
image = images.build(service, Path(sys.argv[1]), Path(sys.argv[2]), lambda line: print(line, flush=True))
print(json.dumps(image.id))
"""


def test_an_environment_whose_build_was_killed_is_rebuilt(checkout: Path, environments: Path) -> None:
    """The installation of a local package blocks, so that the kill surely happens in the middle."""
    write(checkout / "backend/requirements.txt", "six==1.16.0\n./slow\n")
    write(
        checkout / "backend/slow/pyproject.toml",
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "slow"\nversion = "1"\n',
    )
    began = checkout.parent / "began"
    write(
        checkout / "backend/slow/backend.py",
        f"import os, pathlib, time\npart = pathlib.Path({str(began) + '.part'!r})\n"
        f"part.write_text(str(os.getpid()))\npart.rename({str(began)!r})\ntime.sleep(60)\n",
    )
    builder = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(checkout), str(environments)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert waits.wait_until(began.exists, PATIENCE)
        (half,) = [p for p in environments.iterdir() if p.is_dir()]
        assert (half / "bin" / "python").exists()
        builder.kill()
        assert waits.wait_until(lambda: not uses(half), PATIENCE / 4), "uv outlived the build that started it"
    finally:
        builder.kill()
        builder.wait()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int(began.read_text()), signal.SIGKILL)  # the package's own code, started by uv
    assert half.exists()
    write(checkout / "backend/requirements.txt", "six==1.16.0\n")
    image, _ = build(checkout, environments)
    assert not half.exists(), "what the killed build left is swept by the next one"
    assert python(image, "import six; print(six.__version__)") == "1.16.0"


def test_an_incomplete_environment_is_not_used(checkout: Path, environments: Path) -> None:
    place = environments / images.identify(WEB, checkout)
    write(place / "bin" / "python", "#!/bin/sh\nexit 1\n")
    image, lines = build(checkout, environments)
    assert lines
    assert python(image, "import six; print(six.__version__)") == "1.16.0"


def uses(place: Path) -> bool:
    """Whether a uv process still works on an environment."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if process.name.isdigit() and any(w.startswith(str(place).encode()) for w in words):
                return True
    return False


def test_another_process_reuses_the_environment(checkout: Path, environments: Path) -> None:
    service = Service(name="web", role="entry", build=Build(context="backend"), command=("python", "-V"))
    image, _ = build(checkout, environments, service)
    result = processes.run(
        [sys.executable, "-c", BUILDER, str(checkout), str(environments)], timeout=PATIENCE
    )
    assert json.loads(result.stdout) == image.id

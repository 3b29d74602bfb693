"""The Node.js of this machine."""

from pathlib import Path

import pytest

from pushrod.engines.embedded.builds import node


def kit(directory: Path, version: str) -> Path:
    directory.mkdir()
    for name, text in (("node", f"#!/bin/sh\necho v{version}\n"), ("npm", "#!/bin/sh\n")):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    return directory


def test_the_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_PACKAGE", "no_such_package_here")
    monkeypatch.setattr(node, "PATH", str(kit(tmp_path / "bin", "22.3.1")))
    (result,) = node.kits()
    assert (result.version, result.major, result.node) == ("22.3.1", 22, tmp_path / "bin" / "node")
    assert node.suitable(22) == node.suitable(0) == result
    assert node.suitable(23) is None


def test_that_of_the_package_comes_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "nodejs_package_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    kit(package / "bin", "24.1.0")
    npm = package / "lib/node_modules/npm/bin/npm-cli.js"
    npm.parent.mkdir(parents=True)
    npm.write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(node, "_PACKAGE", package.name)
    monkeypatch.setattr(node, "PATH", str(kit(tmp_path / "bin", "20.0.0")))
    assert [(k.major, k.npm) for k in node.kits()] == [(20, tmp_path / "bin" / "npm"), (24, npm)]
    assert node.suitable(22) == node.kits()[1]


def test_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_PACKAGE", "no_such_package_here")
    monkeypatch.setattr(node, "PATH", str(tmp_path))
    assert node.kits() == []
    broken = kit(tmp_path / "bin", "x")
    monkeypatch.setattr(node, "PATH", str(broken))
    assert node.kits() == []

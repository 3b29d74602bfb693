"""`pushrod export`: an app on the embedded engine, written as Kubernetes objects and as plain Compose."""

import json
import os
from pathlib import Path

import pytest
import yaml

from devtools import apps
from devtools.apps import App, Machine, complaint
from pushrod.adapters import compose_loader
from pushrod.system import processes

pytestmark = pytest.mark.integration

SERVICES = {
    "web": {**apps.WEB, "environment": {"TOKEN": "${TOKEN}", "LEVEL": "info"}},
    "db": {"image": "postgres:18"},
}
COMPOSE = yaml.safe_dump({"services": SERVICES})
FILES = {"app.py": apps.APP, "compose.yaml": COMPOSE, "Dockerfile": "FROM python:3.13-slim\nUSER 1000\n"}


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    app = machine.app("exported", FILES, push=False)
    app.must("secret", "set", "TOKEN", stdin="hush-hush-token")
    return app


def test_a_commit_that_is_not_live_is_exported(shop: App, tmp_path: Path) -> None:
    refused = complaint(shop.pushrod("export", "kubernetes", str(tmp_path / "k")))
    assert refused.what == "no release of exported is live"

    refused = complaint(shop.pushrod("export", "kubernetes", "--commit", "HEAD", str(tmp_path / "k")))
    assert refused.what == "the image of web is built, and the cluster has to pull it from somewhere"
    assert not (tmp_path / "k").exists()

    words = ("export", "kubernetes", "--commit", "HEAD", "--registry", "registry.example.com/team")
    printed = shop.must(*words, str(tmp_path / "k"))
    texts = {str(p.relative_to(tmp_path / "k")): p.read_text() for p in (tmp_path / "k").rglob("*.yaml")}
    assert not any("hush-hush" in text for text in (printed, *texts.values()))
    assert any("image: registry.example.com/team/exported-web:" in text for text in texts.values())
    assert "TOKEN" in printed
    assert "values that are not in it" in printed

    shop.must(*words, "--with-secrets", str(tmp_path / "k"))
    private = [p for p in (tmp_path / "k").rglob("*") if p.is_file() and "hush-hush" in p.read_text()]
    assert private
    assert {p.parent.name for p in private} == {"secrets"}
    assert {p.stat().st_mode & 0o777 for p in private} == {0o600}

    (tmp_path / "k" / "kustomization.yaml").write_text("mine")
    refused = complaint(shop.pushrod(*words, str(tmp_path / "k")))
    assert refused.what == "no export has written this file as it is"
    assert (tmp_path / "k" / "kustomization.yaml").read_text() == "mine"


def test_an_export_as_json_writes_nothing(shop: App, tmp_path: Path) -> None:
    image = "web=registry.example.com/web@sha256:" + "0" * 64
    words = (
        "kubernetes",
        "--commit",
        "HEAD",
        "--image",
        image,
        "--namespace",
        "prod",
        "--cluster-version",
        "1.20",
    )
    printed = json.loads(shop.must("export", *words, "--json", str(tmp_path / "k")))
    assert not (tmp_path / "k").exists()
    assert printed["app"] == "exported"
    documents = {path: yaml.safe_load(text) for path, text in printed["files"].items()}
    objects = [d for d in documents.values() if d["kind"] != "Kustomization"]
    assert {d["metadata"].get("namespace", "prod") for d in objects} == {"prod"}
    assert any(image.partition("=")[2] in text for text in printed["files"].values())
    name = next(name for name in printed["secrets"] if name.endswith("-web"))
    assert {"DATABASE_URL", "TOKEN"} <= set(printed["secrets"][name])
    refused = complaint(shop.pushrod("export", "kubernetes", "--commit", "HEAD", "--cluster-version", "1.19"))
    assert refused.what == "`1.19` is not a version of Kubernetes"


def test_a_compose_export_is_accepted_by_compose(shop: App, tmp_path: Path) -> None:
    shop.must("export", "compose", "--commit", "HEAD", "--with-secrets", str(tmp_path / "c"))
    done = processes.run(
        [*compose_loader.argv_of(), "config"], cwd=tmp_path / "c", env={"PATH": os.environ["PATH"]}
    )
    assert done.status == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"web", "db", "edge"}
    assert services["web"]["environment"]["TOKEN"] == "hush-hush-token"
    assert services["web"]["environment"]["DATABASE_URL"].startswith("postgresql://exported_app:")
    assert Path(services["web"]["build"]["context"]) == shop.tree.path


def test_the_live_release_is_exported(shop: App, tmp_path: Path) -> None:
    done = shop.tree.push()
    assert done.ok, done.err
    words = ("export", "kubernetes", "--registry", "registry.example.com/team")
    shop.must(*words, str(tmp_path / "k"))
    names = {p.name for p in (tmp_path / "k").rglob("*.yaml")}
    assert f"deployment-exported-r{shop.live}-web.yaml" in names
    assert "statefulset-exported-db.yaml" in names
    before = {p: p.read_bytes() for p in (tmp_path / "k").rglob("*") if p.is_file()}
    shop.must(*words, str(tmp_path / "k"))
    assert {p: p.read_bytes() for p in (tmp_path / "k").rglob("*") if p.is_file()} == before


def test_a_committed_compose_export_can_be_pushed(shop: App) -> None:
    """Everything but the values, which its own .gitignore leaves out."""
    shop.must("export", "compose", "--commit", "HEAD", "--with-secrets")
    shop.tree.git("add", "--all")
    shop.tree.git("commit", "--quiet", "--message", "with an export")
    names = shop.tree.git("ls-files", "compose").split()
    assert "compose/compose.yaml" in names
    assert not any(name.startswith("compose/secrets/") and not name.endswith("gitignore") for name in names)
    done = shop.tree.push()
    assert done.ok, done.err
    shop.must("export", "compose")  # the next one replaces it

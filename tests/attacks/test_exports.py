"""Exports over SSH: no secret leaves the server, nothing is written elsewhere, nothing of the manifest leads out."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from devtools.lab.ground import ROOT
from pushrod.cli import export_files
from tests.attacks.town import MANIFEST, SECRET, Attacker, Party

pytestmark = [pytest.mark.lab, pytest.mark.long]

HUSH = "hush-hush-value-of-the-app"
WEB = "web=registry.example.com/web:1"
BOTH = {"kubernetes": ("--image", WEB), "compose": ()}


@pytest.fixture
def with_secret(attacker: Attacker) -> Iterator[Attacker]:
    assert attacker.asks("secret", "set", "TOKEN", stdin=HUSH).status == 0
    yield attacker
    assert attacker.asks("secret", "unset", "TOKEN").status == 0


def exported(attacker: Attacker, kind: str, *words: str) -> dict[str, str]:
    """The files of an export that a key asks for."""
    done = attacker.asks("export", kind, "--json", *words)
    assert done.status == 0, done.stderr
    files: dict[str, str] = json.loads(done.stdout)["files"]
    return files


def test_a_key_gets_no_value_of_a_secret_and_writes_no_file(with_secret: Attacker, victim: Party) -> None:
    attacker = with_secret
    done = attacker.pushes(
        {"compose.yaml": MANIFEST + "    environment: {TOKEN: '${TOKEN}', LEVEL: 'x${TOKEN}'}\n"}
    )
    assert done.ok, done.err
    for kind, words in BOTH.items():
        files = exported(attacker, kind, *words)
        assert files
        assert not [path for path, text in files.items() if HUSH in text or SECRET in text], kind
    for kind, more in (
        ("kubernetes", ("--with-secrets", "--json")),
        ("compose", ("--with-secrets", "--json")),
        ("compose", ("--app", "victim", "--json")),
        ("compose", ("--json", "--", f"{ROOT}/apps/victim")),
        ("kubernetes", ("--root", "/tmp", "--json")),
    ):
        refused = attacker.asks("export", kind, *more)
        assert (refused.status in (2, 12), refused.stdout) == (True, ""), (more, refused)
        assert HUSH not in refused.stderr
    at_desk = attacker.at_desk("export", "compose", "--with-secrets", check=False)
    assert (at_desk.status, "secrets do not leave the server" in at_desk.stderr) == (12, True)


def test_an_image_that_is_built_has_no_name_of_a_stranger(attacker: Attacker) -> None:
    refused = attacker.asks("export", "kubernetes", "--json")
    assert "the image of web is built, and the cluster has to pull it from somewhere" in refused.stderr
    named = re.findall(r"image: (\S+)", "\n".join(exported(attacker, "compose").values()))
    assert "attacker-web" in named  # in Docker's own namespace, where nobody else's images are; it is built


KEYS = {
    "privileged": "    privileged: true\n",
    "network_mode": "    network_mode: host\n",
}


def test_what_the_owner_grants_here_is_no_right_on_a_node(attacker: Attacker) -> None:
    """Asked of a commit that is sent, and not deployed."""
    grants = ("privileged", "host-network")
    attacker.ground.pushrod("apps", "allow", attacker.name, *grants)
    try:
        for key, line in KEYS.items():
            attacker.reset()
            attacker.tree.commit({"compose.yaml": MANIFEST + line}, key)
            done = attacker.at_desk(
                "export", "kubernetes", "--commit", "HEAD", *BOTH["kubernetes"], "--json", check=False
            )
            assert done.status == 3 and key in done.stderr, (key, done)
            assert done.stdout == ""
    finally:
        attacker.ground.pushrod("apps", "allow", attacker.name, "--remove", *grants)


MARK = "@source@"
ARGUMENTS = "build: {context: ., args: {TOKEN: 'x${TOKEN}', KIND: plain}}"
LEADS = f"""{MANIFEST.replace("build: .", ARGUMENTS)}    command: [python, app.py, "{MARK}", "@port@80"]
    volumes: ["./{MARK}/{MARK}/.ssh:/keys"]
"""
HOOK = MANIFEST + "    post_start: [{command: ['true'], environment: {A: '${TOKEN}'}}]\n"


def test_a_manifests_texts_lead_nowhere_where_somebody_runs_the_export(with_secret: Attacker) -> None:
    attacker = with_secret
    done = attacker.pushes({"compose.yaml": LEADS})
    assert done.ok, done.err
    service = yaml.safe_load(exported(attacker, "compose")["compose.yaml"])["services"]["web"]
    source = service["volumes"][0]["source"]
    assert re.fullmatch(rf"\$\{{SOURCE:-[./]+\}}/{MARK}/{MARK}/\.ssh", source), source
    assert service["command"][2:] == [MARK, "@port@80"]
    assert (service["build"]["args"]["TOKEN"], service["build"]["args"]["KIND"]) == (None, "plain")
    attacker.reset()
    done = attacker.pushes({"compose.yaml": HOOK})
    assert done.ok, done.err
    refused = attacker.asks("export", "compose", "--json")
    assert (refused.status, "value of a secret" in refused.stderr) == (3, True), refused


# ---- on the machine of who exports ----------------------------------------------------------------------------

HOSTILE = {
    "app": "attacker", "release": "1", "commit": "1" * 40, "secrets": {}, "notes": [],
}  # fmt: skip


def test_an_export_replaces_and_follows_nothing(attacker: Attacker, tmp_path: Path) -> None:
    """A link and a record that the commit has, a file of the developer's, and a server that was taken over."""
    place = attacker.tree.path / "compose"
    mine = tmp_path / "mine"
    mine.write_text("mine")
    place.mkdir()
    try:
        (place / "compose.yaml").symlink_to(mine)
        assert_refused(attacker, "no export has written this file as it is")
        (place / "compose.yaml").unlink()
        (place / "compose.yaml").write_text("mine too")
        assert_refused(attacker, "no export has written this file as it is")
        (place / "compose.yaml").unlink()
        digest = export_files._digest(b"mine")
        (place / export_files.RECORD).write_text(json.dumps({str(mine): digest, "../app.py": digest}))
        assert_refused(attacker, "no file of an export has this path")
        (place / export_files.RECORD).unlink()
        server = tmp_path / "ssh"
        for path in (str(tmp_path / "planted"), "../planted", "../../planted"):
            answer = json.dumps({**HOSTILE, "files": {"compose.yaml": "x", path: "planted"}})
            server.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
            server.chmod(0o755)
            assert_refused(attacker, "no file of an export has this path", GIT_SSH_COMMAND=str(server))
        assert not [
            p for p in (tmp_path, attacker.tree.path, attacker.tree.path.parent) if (p / "planted").exists()
        ]
        assert mine.read_text() == "mine"
        assert {p.name for p in place.iterdir()} == set()
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def assert_refused(attacker: Attacker, what: str, **environment: str) -> None:
    before = attacker.tree.env
    attacker.tree.env = {**before, **environment}
    try:
        done = attacker.at_desk("export", "compose", check=False)
    finally:
        attacker.tree.env = before
    assert (done.status, what in done.stderr) == (12, True), done

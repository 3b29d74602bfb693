"""Configs and secrets whose text is not in the commit."""

import stat
from pathlib import Path

import pytest

from pushrod.apps import App
from pushrod.engines.docker import names, texts
from pushrod.errors import ManifestError
from pushrod.secrets import Secrets

DOCUMENT = {
    "configs": {"a": {"content": "hello\n"}, "f": {"file": "x.conf"}},
    "secrets": {"token": {"environment": "TOKEN"}},
}


def test_they_become_private_files_under_a_name_of_their_own(app: App) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    found = texts.placed(app, DOCUMENT)
    assert found["configs"]["f"] == {"file": "x.conf"}
    assert Path(found["configs"]["a"]["file"]).read_text() == "hello\n"
    token = Path(found["secrets"]["token"]["file"])
    assert token.read_text() == "geheim"
    assert stat.S_IMODE(token.stat().st_mode) == 0o444
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert texts.placed(app, DOCUMENT) == found
    assert DOCUMENT["secrets"]["token"] == {"environment": "TOKEN"}
    Secrets(app).store({"TOKEN": "other"})
    assert texts.placed(app, DOCUMENT)["secrets"] != found["secrets"]


def test_a_secret_that_nothing_gives_is_refused(app: App) -> None:
    with pytest.raises(ManifestError, match="nothing gives TOKEN"):
        texts.placed(app, DOCUMENT)


def test_what_no_kept_file_names_is_removed(app: App) -> None:
    Secrets(app).store({"TOKEN": "geheim"})
    found = texts.placed(app, DOCUMENT)
    texts.prune(app, f"file: {found['configs']['a']['file']}")
    assert [str(p) for p in names.private_files(app).iterdir()] == [found["configs"]["a"]["file"]]

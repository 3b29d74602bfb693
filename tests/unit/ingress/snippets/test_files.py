"""Which files of the commit are snippets."""

from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.system import files
from tests.unit.ingress.snippets.asking import read, write


def test_snippets_are_identified_by_their_repository_path(tmp_path: Path) -> None:
    write(tmp_path, "nginx/b.conf", "nginx/a.conf", "nginx/c.txt", "edge/a.conf")
    assert list(read(tmp_path, "nginx/*.conf", "edge/a.conf")) == [
        "edge/a.conf",
        "nginx/a.conf",
        "nginx/b.conf",
    ]


def test_an_error_has_the_file_and_the_line(tmp_path: Path) -> None:
    write(tmp_path, "nginx/a.conf", text="break;\r\n\r\nroot /;\r\n")
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, "nginx/*.conf")
    assert caught.value.where == "nginx/a.conf:3"


@pytest.mark.parametrize("pattern", ["**/a.conf", "x/**/a.conf", "x/*/*/*.conf", "./x//y/z/a.conf", "**"])
def test_a_pattern_works_like_a_shell_glob(tmp_path: Path, pattern: str) -> None:
    files.write(tmp_path / "x" / "y" / "z" / "a.conf", "break;")
    assert read(tmp_path, pattern) == {"x/y/z/a.conf": "break;"}


@pytest.mark.parametrize(
    "pattern", ["outside/a.conf", "link/a.conf", "link/**", "../outside/*.conf", "/outside/a.conf"]
)
def test_a_pattern_reveals_nothing_outside_the_commit(tmp_path: Path, pattern: str) -> None:
    """Not even whether it is there: the message is the same for a file and for none."""
    files.write(tmp_path / "outside" / "a.conf", "break;")
    (tmp_path / "commit").mkdir()
    (tmp_path / "commit" / "link").symlink_to("../outside")
    with pytest.raises(ManifestError, match="no file"):
        read(tmp_path / "commit", pattern)


@pytest.mark.parametrize("pattern", ["nothing/*.conf", "nginx/*.txt", "nginx"])
def test_a_pattern_must_match_a_file(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, "nginx/a.txt")
    with pytest.raises(ManifestError, match="no file") as caught:
        read(tmp_path, pattern)
    assert caught.value.where == "x-pushrod.nginx"


@pytest.mark.parametrize(
    "name", ["nginx/a b.conf", "nginx/.a.conf", "nginx/ä.conf", "ngi$nx/a.conf", "nginx/a*.conf"]
)
def test_a_name_that_nginx_would_expand_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    with pytest.raises(ManifestError, match="this file name is not allowed"):
        read(tmp_path, "*/*.conf")


def test_a_link_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "other/key.conf", "repository/nginx/a.conf")
    (tmp_path / "repository/nginx/b.conf").symlink_to("../../other/key.conf")
    with pytest.raises(ManifestError, match="points outside the repository") as caught:
        read(tmp_path / "repository", "nginx/*.conf")
    assert caught.value.where == "nginx/b.conf"


def test_invalid_utf_8_and_carriage_returns_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_bytes(b"add_header A \xff\xfe;\r# \xc3\nbreak;")
    assert read(tmp_path, "a.conf") == {"a.conf": "add_header A \ufffd\ufffd;\n# \ufffd\nbreak;"}

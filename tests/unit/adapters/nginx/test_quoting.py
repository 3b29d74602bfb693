"""Text in the syntax of nginx's configuration."""

from pathlib import Path

import pytest

from pushrod.adapters.nginx import quoting
from pushrod.core.errors import EdgeError
from tests.unit.adapters.nginx.samples import main


def test_quotes_and_backslashes_of_a_path_are_escaped() -> None:
    text = main(directory=Path('/srv/a "b"\\c'))
    assert 'pid "/srv/a \\"b\\"\\\\c/run/nginx.pid";' in text


@pytest.mark.parametrize("character", list("$*?[\n\x7f"))
def test_a_path_that_nginx_would_expand_is_refused(character: str) -> None:
    with pytest.raises(EdgeError, match="nginx cannot use a path") as caught:
        main(directory=Path(f"/srv/a{character}b"))
    assert caught.value.hint


def test_text_is_quoted_as_one_word() -> None:
    assert quoting.word('a "b" \\ {c}; $d') == '"a \\"b\\" \\\\ {c}; $d"'


def test_the_prefix_of_a_socket_path_is_inside_the_quotes() -> None:
    assert quoting.quoted(Path("/run/a b"), prefix="unix:") == '"unix:/run/a b"'


def test_a_header_name_becomes_part_of_a_variable_name() -> None:
    assert quoting.name("X-Api-Key") == "x_api_key"


def test_lines_are_indented_except_empty_ones() -> None:
    assert quoting.indented("a\n\n  b\n", 4) == "    a\n\n      b\n"

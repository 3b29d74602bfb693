"""Text files of the package, with values filled in."""

from pathlib import Path

import pytest

from pushrod.adapters import templates


def test_a_template_is_filled_by_name() -> None:
    assert templates.fill("a @b@ $c @d_e@ f@g.h\n", b="1", d_e="@b@") == "a 1 $c @b@ f@g.h\n"
    with pytest.raises(KeyError):
        templates.fill("@b@")


def test_comments_for_the_template_author_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "some.conf"
    path.write_text("#: of two\n#: lines\na\n    #: moved to the right\n# stays\nb #: too\n")
    assert templates.read(path) == "a\n# stays\nb #: too\n"

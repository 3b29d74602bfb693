"""What Dockerfiles set with variables stays within its limit."""

import pytest

from pushrod.adapters import dockerfile
from pushrod.core.errors import ManifestError

LONG = "ARG A=" + "x" * 1000 + "\n"
SQUARED = f"{LONG}ARG B={'$A' * 100}\n"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (f"{SQUARED}LABEL big={'$B' * 30}\n", 4),
        (f"{SQUARED}ENV C={'${B}' * 100} D=1\n", 4),
        (f"{SQUARED}ARG C={'${B:-x}' * 100}\nARG D={'$C' * 100}\nARG E={'$D' * 100}\n", 4),
        (f"{SQUARED}WORKDIR /{'$B' * 100}\n", 4),
        (f"{LONG}ENV B={'$A' * 100}\n" + "".join(f"ENV C{n}=$B\n" for n in range(9)), 5),
        (f"{LONG}ENV B={'$A' * 100}\n" + "LABEL C=$B\n" * 9, 5),
        (f"{LONG}ENV B={'$A' * 100}\n" + "FROM y\n" + f"{LONG}ENV B={'$A' * 100}\n" * 2, 8),
    ],
)
def test_what_expands_beyond_its_limit_is_refused_before_it_is_made(lines: str, line: int) -> None:
    """A few hundred bytes could become terabytes here, and in the builder."""
    with pytest.raises(ManifestError, match="more than 256 KiB with their variables") as refused:
        dockerfile.read(f"FROM x\n{lines}")
    assert refused.value.where == f"Dockerfile:{line}"


def test_arguments_before_the_first_stage_are_limited_too() -> None:
    many = "".join(f"ARG C{n}=$B\n" for n in range(9))
    for text in (f"{SQUARED}ARG C={'$B' * 100}\nFROM x:$C\n", f"{SQUARED}{many}FROM x\n"):
        for read in (dockerfile.read, dockerfile.images):
            with pytest.raises(ManifestError, match="more than 256 KiB"):
                read(text)


def test_a_long_run_line_is_the_shells_affair() -> None:
    assert dockerfile.read(f"FROM x\n{SQUARED}RUN echo {'$B' * 30}\n").runs == (f"echo {'$B' * 30}",)

"""What Dockerfiles set with variables stays within its limit."""

from collections.abc import Callable

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


FEW = f"{LONG}ARG B={'$A' * 100}\nFROM x\nARG B\n"


@pytest.mark.slow
@pytest.mark.parametrize("line", ["FROM $B\n", "COPY $B /x\n", "VOLUME $B\n", "EXPOSE $B\n", "USER $B\n"])
def test_all_lines_together_are_limited(line: str) -> None:
    with pytest.raises(ManifestError, match="its lines have more than 256 KiB"):
        dockerfile.read(f"{FEW}{line * 3}")


@pytest.mark.parametrize("line", ["FROM $B\n", "COPY --from=$B a b\n", "RUN --mount=from=$B a\n"])
def test_the_names_of_images_together_are_limited(line: str) -> None:
    with pytest.raises(ManifestError, match="its lines have more than 256 KiB"):
        dockerfile.images(f"{FEW}{line * 3}")


@pytest.mark.parametrize("read", [dockerfile.read, dockerfile.images, dockerfile.runs, dockerfile.copied])
@pytest.mark.parametrize(("text", "words"), [("USER x\n" * 1000, "1000 inst"), ("#" * (1 << 20), "1 MiB")])
def test_a_file_that_no_builder_makes_an_image_of_is_refused(
    read: Callable[[str], object], text: str, words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        read(f"FROM x\n{text}")


def test_stages_that_copy_twice_from_the_one_before_do_not_double_what_is_known() -> None:
    """Two kilobytes would take terabytes."""
    first = "FROM x AS s0\nRUN pip install -r a.txt\n"
    more = "".join(f"FROM x AS s{n}\n" + f"COPY --from=s{n - 1} /a /a\n" * 2 for n in range(1, 60))
    recipe = dockerfile.read(first + more)
    assert (recipe.runs, recipe.requirements, recipe.borrowed) == (
        ("pip install -r a.txt",),
        ("a.txt",),
        1,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CMD", "ENTRYPOINT", "VOLUME", "COPY", "SHELL"])
def test_a_list_in_a_list_in_a_list_is_no_list(name: str) -> None:
    dockerfile.read(f"FROM x\n{name} {'[' * 100_000}\n")


def test_arguments_before_the_first_stage_are_limited_too() -> None:
    many = "".join(f"ARG C{n}=$B\n" for n in range(9))
    for text in (f"{SQUARED}ARG C={'$B' * 100}\nFROM x:$C\n", f"{SQUARED}{many}FROM x\n"):
        for read in (dockerfile.read, dockerfile.images):
            with pytest.raises(ManifestError, match="more than 256 KiB"):
                read(text)


def test_a_long_run_line_is_the_shells_affair() -> None:
    assert dockerfile.read(f"FROM x\n{SQUARED}RUN echo {'$B' * 30}\n").runs == (f"echo {'$B' * 30}",)

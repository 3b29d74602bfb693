"""The trees of an edge on disk, one for each generation: written whole and durable, never edited."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from pushrod.system import files

KEPT_TREES = 3
"""How many trees stay on disk, the current one among them."""


class Generations:
    """The trees below a directory, each by its generation's name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[str]:
        """Those that are there, the newest first."""
        names = (p.name for p in self._directory.iterdir())
        return sorted((n for n in names if re.fullmatch(r"\d+-[0-9a-f]{8}", n)), key=_number, reverse=True)

    def next(self) -> str:
        """The name of a new tree. Part of it is random: a late answer of one that failed is never its own, and no
        app's text has it."""
        return f"{max(map(_number, self.all()), default=0) + 1}-{secrets.token_hex(4)}"

    def read(self, generation: str) -> dict[str, str]:
        """The files of a tree, by their path in it."""
        tree = self._directory / generation
        return {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*") if p.is_file()}

    def has(self, generation: str, texts: Mapping[str, str]) -> bool:
        """Whether a tree is just these files; where its sites are others, nothing else is read."""
        try:
            table = (self._directory / generation / "sites.json").read_text()
            return table == texts["sites.json"] and self.read(generation) == texts
        except (OSError, UnicodeDecodeError):
            return False

    def write(self, generation: str, texts: Mapping[str, str], before: str = "") -> list[Path]:
        """Write a tree; what of it is not yet durable, contents before names.

        What the tree `before` has just so becomes one file with it: a switch among many apps would otherwise wait for
        the disk.
        """
        tree = self._directory / generation
        places = {tree, tree / "sites", *(tree / up for name in texts for up in Path(name).parents)}
        written = []
        with self.removed_on_failure(generation):
            for path in sorted(places):
                path.mkdir()
                path.chmod(0o755)
            for name, text in texts.items():
                if not (before and files.link_same(tree / name, self._directory / before / name, text)):
                    files.write_new(tree / name, text)
                    written.append(tree / name)
        return [*written, *sorted(places, reverse=True), self._directory]

    @contextlib.contextmanager
    def removed_on_failure(self, generation: str) -> Iterator[None]:
        """Remove a tree that does not come to be used."""
        try:
            yield
        except BaseException:
            self.remove(generation)
            raise

    def remove(self, generation: str) -> None:
        """Remove a tree."""
        files.remove_tree(self._directory / generation)

    def prune(self, current: str) -> None:
        """Remove the oldest, beyond KEPT_TREES."""
        older = [generation for generation in self.all() if generation != current]
        for generation in older[KEPT_TREES - 1 :]:
            self.remove(generation)


def _number(generation: str) -> int:
    return int(generation.partition("-")[0])

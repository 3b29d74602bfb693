"""The trees of an edge on disk, one for each generation: written completely and synced, never edited."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from pushrod.system import files

KEPT_TREES = 3
"""Trees that are kept, including the current one."""


class Generations:
    """The trees below a directory, each by its generation's name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[str]:
        """The existing ones, the newest first."""
        names = (p.name for p in self._directory.iterdir())
        return sorted((n for n in names if re.fullmatch(r"\d+-[0-9a-f]{8}", n)), key=_number, reverse=True)

    def next(self) -> str:
        """The name of a new tree. Part of it is random: so a late answer of a failed generation never matches, and no
        app's text contains it.
        """
        return f"{max(map(_number, self.all()), default=0) + 1}-{secrets.token_hex(4)}"

    def read(self, generation: str) -> dict[str, str]:
        """The files of a tree, by their path in it."""
        tree = self._directory / generation
        return {str(p.relative_to(tree)): p.read_text() for p in tree.rglob("*") if p.is_file()}

    def has(self, generation: str, texts: Mapping[str, str]) -> bool:
        """Whether a tree consists of exactly these files; if its sites differ, nothing else is read."""
        try:
            table = (self._directory / generation / "sites.json").read_text()
            return table == texts["sites.json"] and self.read(generation) == texts
        except (OSError, UnicodeDecodeError):
            return False

    def write(self, generation: str, texts: Mapping[str, str], before: str = "") -> list[Path]:
        """Write a tree; returns what is not yet synced, contents before names.

        Files that are equal in the tree `before` become hard links: otherwise a switch among many apps would wait for
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
        """Remove a tree if the block fails."""
        try:
            yield
        except BaseException:
            self.remove(generation)
            raise

    def remove(self, generation: str) -> None:
        """Remove a tree."""
        files.remove_tree(self._directory / generation)

    def remove_old(self, current: str) -> None:
        """Remove the oldest trees beyond KEPT_TREES."""
        older = [generation for generation in self.all() if generation != current]
        for generation in older[KEPT_TREES - 1 :]:
            self.remove(generation)


def _number(generation: str) -> int:
    return int(generation.partition("-")[0])

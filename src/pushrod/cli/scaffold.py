"""The repository that `pushrod new` makes: a copy of the template with the app's name filled in, committed."""

from pathlib import Path

import pushrod
from pushrod.adapters import git
from pushrod.core.errors import UnknownNameError
from pushrod.system import files

TEMPLATE = Path(pushrod.__file__).parent / "template"
_NAME = "{{name}}"


def create(name: str, target: Path) -> None:
    """Copy the template to a new or empty folder and make the first commit. UnknownNameError if it contains
    files."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnknownNameError(
            "the folder already exists and is not empty",
            where=str(target),
            hint="choose another name, or --directory",
        )
    for path, text in template_files(name).items():
        files.write(target / path, text)
    git.init(target)
    git.commit_first(target, f"{name}: begin")


def template_files(name: str) -> dict[str, str]:
    """Every file of the new repository; a leading `dot_` in a name stands for a dot."""
    contents = {}
    for source in sorted(TEMPLATE.rglob("*")):
        inside = source.relative_to(TEMPLATE)
        if source.is_file() and not any(map(_left_by_tools, inside.parts)):
            parts = [f".{p[4:]}" if p.startswith("dot_") else p for p in inside.parts]
            contents["/".join(parts)] = source.read_text().replace(_NAME, name)
    return contents


def _left_by_tools(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"

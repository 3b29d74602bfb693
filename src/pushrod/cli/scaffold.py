"""The repository that `pushrod new` makes: a copy of a stack's template with the app's name filled in, committed.

Each stack is the same shop. Python's template is complete; another stack's has its own files, and takes from Python's
those of no language.
"""

from pathlib import Path

import pushrod
from pushrod.adapters import git
from pushrod.core.errors import UnknownNameError
from pushrod.system import files

TEMPLATE = Path(pushrod.__file__).parent / "template"
STACKS = {"python": TEMPLATE, "spring": TEMPLATE.with_name("template_spring")}
"""The templates by their stack's name; the first is the default."""
_OF_NO_LANGUAGE = (
    *("frontend/", "docker/nginx/", "docker/postgres/", "docker/redis/", ".github/"),
    *(".env.example", "deploy.sh", "Jenkinsfile"),
)
_NAME = "{{name}}"


def create(name: str, target: Path, stack: str = "python") -> None:
    """Copy the template to a new or empty folder and make the first commit. UnknownNameError if it contains
    files."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UnknownNameError(
            "the folder already exists and is not empty",
            where=str(target),
            hint="choose another name, or --directory",
        )
    for path, text in template_files(name, stack).items():
        files.write(target / path, text)
    git.init(target)
    git.commit_first(target, f"{name}: begin")


def template_files(name: str, stack: str = "python") -> dict[str, str]:
    """Every file of the new repository; a leading `dot_` in a name stands for a dot."""
    shared = _files_of(STACKS["python"])
    if stack != "python":
        shared = {path: text for path, text in shared.items() if path.startswith(_OF_NO_LANGUAGE)}
    own = _files_of(STACKS[stack])
    return {path: text.replace(_NAME, name) for path, text in sorted({**shared, **own}.items())}


def _files_of(template: Path) -> dict[str, str]:
    contents = {}
    for source in sorted(template.rglob("*")):
        inside = source.relative_to(template)
        if source.is_file() and not any(map(_left_by_tools, inside.parts)):
            parts = [f".{p[4:]}" if p.startswith("dot_") else p for p in inside.parts]
            contents["/".join(parts)] = source.read_text()
    return contents


def _left_by_tools(part: str) -> bool:
    return part.startswith(".") or part in ("__pycache__", "target")

"""new: a repository to start from."""

from pathlib import Path

import click

from pushrod.cli import scaffold
from pushrod.cli.terminal import echo
from pushrod.state.apps import check_name


@click.command("new")
@click.argument("name")
@click.option("--directory", type=click.Path(path_type=Path), help="Where to create it; by default ./NAME.")
@click.option(
    "--stack",
    type=click.Choice([*scaffold.STACKS]),
    default="python",
    show_default=True,
    help="The backend's framework: FastAPI, or Spring Boot 3.",
)
def new_command(name: str, directory: Path | None, stack: str) -> None:
    """Create a repository to start from, with its first commit.

    It contains a small shop: a page, an API, a worker, PostgreSQL, Redis, migrations, tests and CI.
    """
    target = (directory or Path(name)).absolute()
    scaffold.create(check_name(name), target, stack)
    echo(f"{target}: a repository with its first commit")
    echo(f"  cd {target} && pushrod up")

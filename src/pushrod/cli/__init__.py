"""The command line: parse, call, print. The only place that prints or exits."""

import gc
import importlib
import sys
from typing import Any

import click

from pushrod import __version__
from pushrod.cli import recording
from pushrod.cli.output import print_error, print_wrong_call
from pushrod.core.errors import Ending
from pushrod.provisioning.verbs import MODULES
from pushrod.system import signals
from pushrod.system.files import os_error

_OBJECTS = 50_000  # made between two searches for garbage; by Python's 700, a push's imports cause hundreds


class _Verbs(click.Group):
    """The verbs, in the order of a working day rather than alphabetically."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(MODULES)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, and record how it ended."""
        with recording.recorded(ctx):
            return super().invoke(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in MODULES:
            return None
        module = importlib.import_module(f"pushrod.cli.{MODULES[name]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command


_EXIT_CODES = (
    "Exit codes: 0 done, 1 internal, 2 usage, 3 manifest, 4 repository, 5 build, 6 store, 7 release command, "
    "8 not ready, 9 edge, 10 this machine, 11 damaged state, 12 unknown name, 13 busy, 130 interrupted."
)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXIT_CODES,
)
@click.version_option(__version__, prog_name="pushrod", message="%(prog)s %(version)s")
@click.option("--root", envvar="PUSHROD_ROOT", help="Where pushrod keeps its state (also PUSHROD_ROOT).")
@click.pass_context
def cli(context: click.Context, root: str | None) -> None:
    """Take a commit to production on this machine with git push. Start with `pushrod new shop`, or `pushrod up`
    beside a compose file.
    """
    context.obj = root


def main() -> None:
    """Run the command line. Exit codes: `core/errors.py`; 2 means wrong usage, 1 a bug in pushrod."""
    gc.set_threshold(_OBJECTS)
    try:
        with signals.handled():
            cli(prog_name="pushrod", standalone_mode=False)
    except Ending as e:
        print_error(e)
        sys.exit(e.exit_code)
    except OSError as e:
        error = os_error(e, "")
        print_error(error)
        sys.exit(error.exit_code)
    except click.ClickException as e:
        print_wrong_call(e)
        sys.exit(e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    finally:
        gc.freeze()  # when Python ends, it would search all modules for garbage: a tenth of a push's own time

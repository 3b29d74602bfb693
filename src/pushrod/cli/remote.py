"""Verbs for an app on another machine: if the `pushrod` remote uses SSH, they run there.

After `git remote add pushrod pushrod@host:shop`, `pushrod status` in the repository means
`ssh pushrod@host status --app shop`: the same output, and the same exit code.
"""

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote, urlsplit

import click
from click.core import ParameterSource

from pushrod.adapters import git
from pushrod.cli import host_context
from pushrod.cli.output import echo_lines
from pushrod.cli.terminal import at_terminal
from pushrod.core.errors import HostError, RepositoryError
from pushrod.system import processes

_ELSEWHERE = ("app_name", "root", "directory")
"""Parameters that select the app here; on the other machine `--app` does."""


class Remote(NamedTuple):
    """An app on another machine: the SSH client's argv including the destination, and the app's name."""

    ssh: tuple[str, ...]
    app: str

    def argv(self, *words: str) -> list[str]:
        """The argv that runs a verb there, its words quoted for SSH's remote shell."""
        return [*self.ssh, shlex.join(words)]

    def run(self, *words: str, terminal: bool = False) -> NoReturn:
        """Run a verb there on this terminal, and exit with its status; with `terminal` it has one there too."""
        argv = self.argv(*words)
        if terminal:
            argv.insert(len(self.ssh) - 1, "-t")
        sys.exit(processes.attach(argv, cwd=Path.cwd(), env=os.environ))

    def push(self, refspec: str, *options: str) -> None:
        """Push to the remote as the user would; exits with Git's status if that fails."""
        argv = ["git", "push", *options, "pushrod", refspec]
        if status := processes.attach(argv, cwd=Path.cwd(), env=os.environ):
            sys.exit(status)

    def feed(self, text: str, *words: str) -> NoReturn:
        """Run a verb there that reads `text` from stdin, never from its arguments. Exits with its status."""
        done = processes.run(self.argv(*words), stdin=text, timeout=120)
        echo_lines(done.stdout)
        echo_lines(done.stderr, err=True)
        sys.exit(done.status)


def find(root: str | None, app: str | None, directory: Path | None = None) -> Remote | None:
    """The app that the repository's `pushrod` remote names on another machine; None if the app is on this one.

    A root given by --root or PUSHROD_ROOT is on this machine, and so is a caller through the gate.
    """
    if host_context.caller() or root or click.get_current_context().find_root().obj:
        return None
    try:
        tree = git.toplevel(directory or Path.cwd())
    except RepositoryError:
        return None
    remote = parse(git.remote_url(tree), _program(tree))
    return remote._replace(app=app) if remote and app else remote


def parse(url: str, program: Sequence[str] = ("ssh",)) -> Remote | None:
    """Parse a remote's URL as Git does (git-clone(1), GIT URLS); None if it is not an SSH URL.

    Raises HostError for a host that an SSH client would take for an option.
    """
    port = ""
    if url.startswith("ssh://"):
        parts = urlsplit(url)
        port = str(parts.port or "")
        at, path = parts.netloc.removesuffix(f":{port}"), parts.path
    elif "://" not in url and (match := re.fullmatch(r"((?:[^/:@[]+@)?(?:\[[^]]+\]|[^/:@[]+)):(.+)", url)):
        at, path = match[1], match[2]
    else:
        return None
    name = re.sub(r"^/?(~/)?(.+?)(\.git)?/?$", r"\2", unquote(path))
    where = re.sub(r"\[([^]]+)\]", r"\1", at)
    if where.startswith("-") or "@-" in where:
        raise HostError(
            "a host's name cannot begin with a dash", where=url, hint="git remote set-url pushrod …"
        )
    return Remote((*program, *(["-p", port] if port else []), where), name)


def _program(tree: Path) -> tuple[str, ...]:
    """The SSH client that Git would use there, split as a shell would but not run by one."""
    given = os.environ.get("GIT_SSH_COMMAND") or git.config(tree, "core.sshCommand")
    if given:
        return tuple(shlex.split(given))
    return (os.environ.get("GIT_SSH") or "ssh",)


class Verb(click.Command):
    """A verb that runs on the machine that has the app."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it there with the same options and arguments, or here if the app is on this machine."""
        there = find(ctx.params.get("root"), ctx.params.get("app_name"), ctx.params.get("directory"))
        if there is None:
            return super().invoke(ctx)
        verb = ctx.command_path.split()[1:]
        return there.run(*verb, "--app", there.app, *_given(self, ctx), terminal=self.interactive())

    def interactive(self) -> bool:
        """Whether it needs a terminal on the other machine."""
        return False


class TerminalVerb(Verb):
    """A verb that talks to the user, if the user is at a terminal."""

    def interactive(self) -> bool:
        """If the user is at one here."""
        return at_terminal()


def _given(command: click.Command, ctx: click.Context) -> list[str]:
    """The options and arguments of a call as words, without those that select the app."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in command.params:
        name = parameter.name or ""
        value: Any = ctx.params.get(name)
        if name in _ELSEWHERE or ctx.get_parameter_source(name) is ParameterSource.DEFAULT:
            continue
        if isinstance(parameter, click.Option):
            given = value if parameter.multiple else [value]
            options += [
                word for v in given for word in (parameter.opts[-1], *([] if parameter.is_flag else [str(v)]))
            ]
        elif parameter.type is click.UNPROCESSED:  # the words of the user's own program, up to the end
            arguments += ["--", *value]
        else:
            given = [str(v) for v in (value if isinstance(value, tuple) else [value])]
            dashed = any(v.startswith("-") and v != "-" for v in given)  # came after a `--`
            arguments += ["--", *given] if dashed and "--" not in arguments else given
    return [*options, *arguments]

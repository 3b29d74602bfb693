"""gate: what sshd runs for every request of a key (`provisioning/gate.py` decides what is allowed)."""

import os
import shlex
import sys
from pathlib import Path

import click

from pushrod.adapters import git, git_unpacking
from pushrod.cli import host_context, recording
from pushrod.cli.context import find_root
from pushrod.cli.recording import Record
from pushrod.cli.terminal import echo
from pushrod.engines import machine, registry
from pushrod.provisioning import gate, keys, session, shares
from pushrod.provisioning.kinds import Reach
from pushrod.state.apps import NAME, Root, check_name
from pushrod.state.audit import Who
from pushrod.system import processes, signals


@click.command("gate", hidden=True)
@click.argument("name")
@click.option("--app", "apps", multiple=True)
@click.pass_context
def gate_command(context: click.Context, name: str, apps: tuple[str, ...]) -> None:
    """Called by sshd, not by people."""
    root, reach = find_root(None), Reach(apps)
    _settle(root, name)
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    record = recording.of(context)
    who = Who(name, keys.fingerprint_of(root.path / keys.PLACE, name), recording.address())
    record.root, record.who, record.reach = root, who, apps
    record.words = " ".join(command.split()[:2]) if "secret" in command else command  # until it is parsed
    turn = context.with_resource(shares.turn(root, name))
    if registry.traits(root).hosted:
        shares.enter(name)
    words = gate.divide(command)
    record.words = command if gate.without_values(words) == words else shlex.join(gate.without_values(words))
    if not words:
        record.read_only = True
        echo(gate.greeting(name, apps))
    elif request := gate.git_call(words, reach):
        pushes = request.service == "receive-pack"
        record.what, record.app, record.read_only = "push" if pushes else "fetch", request.app, not pushes
        record.begin()
        end_after(gate.PUSH_SECONDS if pushes else gate.FETCH_SECONDS)
        sys.exit(_serve(root, request, reach, turn, record.act))
    else:
        call = parse(context.find_root().command, words, host_context.Caller(name, root, reach), record)
        record.begin()
        end_after(gate.VERBS[record.what].seconds)
        with call:
            call.command.invoke(call)


def end_after(seconds: int) -> None:
    """End this process, and what it has started, after a time, and say so."""
    signals.end_after(
        seconds, lambda: echo(f"pushrod: stopped after {seconds} s, the time limit of this call", err=True)
    )


def _settle(root: Root, name: str) -> None:
    """Drop what the client could influence: environment variables, and a repository above the current directory."""
    if registry.traits(root).hosted:
        kept = session.environment(os.environ)
        os.environ.clear()
        os.environ.update(kept)
    os.environ["LOGNAME"] = name  # so that a release records whose key made it
    os.chdir("/")


def parse(cli: click.Command, words: list[str], caller: host_context.Caller, record: Record) -> click.Context:
    """The call that the words describe, parsed by the command line's own parser and checked against the allow list.

    The caller runs exactly this call, without parsing it again. Raises UnknownNameError for what a key may not do,
    and click's own errors for an invalid call; `record` is filled in as far as parsing gets.
    """
    context = click.Context(cli, info_name="pushrod", obj=str(caller.root.path), **cli.context_settings)
    context.meta[host_context.CALLER], context.meta[recording.RECORD] = caller, record
    command, path, name, rest = cli, "", "", list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0) if rest else ""
        path = f"{path} {name}".strip()
        known = any(f"{verb} ".startswith(f"{path} ") for verb in gate.VERBS)
        subcommand = command.get_command(context, name) if known else None
        if subcommand is None:
            raise gate.refused(f"`{path}` is not a verb that a key may run")
        command = subcommand
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name, parent=context)
    record.what = path
    record.read_only = gate.rule(path, caller.reach).read_only  # before its parser runs
    try:
        call = command.make_context(name, rest, parent=context)
    except click.MissingParameter:
        raise
    except click.BadParameter as e:
        # For a path that may not be named, the error must not reveal what is there.
        if e.param is not None and gate.is_path(path, e.param.name or ""):
            gate.judge(path, {e.param.name or "": None}, caller.reach)
        raise
    record.app = _app(call, caller.reach)
    gate.judge(path, call.params, caller.reach)
    return call


def _app(call: click.Context, reach: Reach) -> str:
    """The app that a call names, if it could be a valid name; otherwise the only app in reach."""
    named = call.params.get("app_name" if "app_name" in call.params else "name")
    if named is None:
        return reach.apps[0] if len(reach.apps) == 1 and "app_name" in call.params else ""
    return named if NAME.fullmatch(named) else ""


def _serve(root: Root, request: gate.Git, reach: Reach, turn: int, act: int) -> int:
    """Run the Git service that the client talks to; returns its status. The first push to a name creates the app.

    Raises RepositoryError if Git refuses the push; the client has already seen Git's own message.
    """
    if request.makes and request.app not in {a.name for a in root.apps()}:
        from pushrod.releases import app_lifecycle

        app = app_lifecycle.create(registry.of(root), check_name(request.app), source=None)
    else:
        app = root.app(request.app)
    most = machine.of(root, app.name)
    environment = git.served(most) | {host_context.PUSHER: ",".join(reach.apps)}
    if protocol := os.environ.get("GIT_PROTOCOL"):
        environment["GIT_PROTOCOL"] = protocol
    environment[recording.ACT] = str(act)
    argv = ["git", request.service, str(app.repository)]
    events = root.runtime / "gate" / f"events.{os.getpid()}"
    events.unlink(missing_ok=True)
    try:
        with signals.uninterrupted():  # Git receives the signal too, and ends itself
            environment |= git_unpacking.events_to(events)
            status = processes.attach(argv, cwd=Path("/"), env=environment, keep=[turn])
        outcome = git_unpacking.outcome(events)
    finally:
        events.unlink(missing_ok=True)
    if outcome.problem:
        from pushrod.releases import push_limits

        raise push_limits.not_taken(outcome.problem, most)
    if request.service == "receive-pack" and not outcome.taken:
        recording.add("nothing accepted")
    return status

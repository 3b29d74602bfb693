"""Records calls in the audit log (`pushrod.state.audit`): when one begins, and how it ends.

A verb that changes something is recorded before it does anything, so it cannot hide its own effects. Requests through
the gate are always recorded; read-only commands on the machine itself are not.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pushrod.cli.terminal import echo
from pushrod.core.errors import Ending, PushrodError
from pushrod.provisioning import verbs
from pushrod.state.apps import App, Root
from pushrod.system import accounts, files

if TYPE_CHECKING:
    from pushrod.state.audit import Result, Who

RECORD = "pushrod.record"
_TARGET = "target"  # the parameter of `host notify add` and `host alarm set`
ACT = "PUSHROD_AUDIT_ACT"
"""The number of the action that a hook belongs to, if the gate has already recorded its beginning."""

BY = "PUSHROD_ASKED_BY"
"""Who called, if root has become the account."""


class Record:
    """What is known about one call. `reach` are the apps that a key is for; empty means all."""

    def __init__(self) -> None:
        self.root: Root | None = None
        self.who: Who | None = None
        self.act = 0
        self.what = ""
        self.words = ""
        self.app = ""
        self.reach: tuple[str, ...] = ()
        self.detail = ""
        self.read_only = False

    def begin(self) -> None:
        """Record the beginning of a call that changes something. For a key this must succeed; on the machine itself
        an unwritable log must not prevent repairs."""
        if self.root is None or self.who is None or self.read_only or self.act or not self.root.path.is_dir():
            return
        from pushrod.state.audit import Audit

        try:
            self.act = Audit(self.root).begin(self.who, self.what, self.app, self._redacted_words())
        except OSError as e:
            error = files.os_error(e, str(Audit(self.root).log))
            if self.who.key:
                raise error from e
            echo(f"  note     not recorded in the audit log: {error.what}", err=True)

    def end(self, result: "Result", code: int, why: str) -> None:
        """Record the end of a call."""
        if self.root is None or self.who is None or not self.root.path.is_dir():
            return
        from pushrod.state.audit import Audit

        detail = "; ".join(part for part in (self.detail, why) if part)
        with contextlib.suppress(OSError, PushrodError):
            log = Audit(self.root)
            if self.act:
                log.end(self.act, result, code, self.app, detail)
            elif self.who.key or not self.read_only:
                log.note(self.who, self.what, result, code, self.app, self._redacted_words(), detail)

    def _redacted_words(self) -> str:
        """The words of the call, with secrets redacted: those of the apps the caller may access; others' are not
        read."""
        names = self.reach if self.reach and self.app not in self.reach else (self.app,)
        if not self.words:
            return ""
        from pushrod.state.secrets import Secrets

        words = self.words
        for app in (App(self.root, name) for name in names if name) if self.root else ():
            try:
                words = Secrets(app).redact(words) if app.secrets.is_dir() else words
            except (PushrodError, OSError):
                return ""
        return words


def of(context: click.Context | None = None) -> Record:
    """The record of the current call."""
    here = context or click.get_current_context(silent=True)
    record: Record = here.meta.setdefault(RECORD, Record()) if here else Record()
    return record


def begun(root: Root, app: str = "") -> None:
    """Record a verb run on this machine, once its root and, if it has one, its app are known. Further calls only
    add the app."""
    context, record = click.get_current_context(), of()
    what = context.command_path.partition(" ")[2]
    verb = verbs.find(what)
    if not verb.recorded or (verb.by_timer and "INVOCATION_ID" in os.environ):  # systemd.exec(5)
        return
    if record.root is not None:
        record.app = record.app or app
        return
    record.root, record.who, record.what = root, local_caller(), what
    record.read_only = verb.key is not None and verb.key.read_only
    record.app = app or str(context.params.get("app_name") or "")
    if what.startswith("apps "):
        record.app = str(context.params.get("name") or "")
    record.words = _words(context)
    record.begin()


def about(app: str) -> None:
    """Set the app of the call, once it is known."""
    record = of()
    record.app = record.app or app


def add(detail: str) -> None:
    """Add a detail: a release, the names of secrets, a key's fingerprint."""
    record = of()
    record.detail = f"{record.detail}; {detail}" if record.detail else detail


def local_caller() -> "Who":
    """Who runs the command line on this machine: the user's account, even after root has become another account."""
    from pushrod.state.audit import Who

    by = os.environ.get(BY) or accounts.user_name()
    if BY not in os.environ and (invoker := os.environ.get("SUDO_USER")):
        by = f"{by} ({invoker})"
    return Who(by, address=address())


def caller_name() -> str:
    """The name of who makes the current call, for records: a key's, or a local account's."""
    who = of().who
    return who.by if who else local_caller().by


def address() -> str:
    """The address a session comes from (sshd(8), SSH_CONNECTION); empty for a local one."""
    return os.environ.get("SSH_CONNECTION", "").partition(" ")[0][:64]


def _words(context: click.Context) -> str:
    """The arguments by parameter, as the parser understood them."""
    parts = []
    for parameter in context.command.params:
        name, value = parameter.name or "", context.params.get(parameter.name or "")
        source = context.get_parameter_source(name)
        if name in ("root", "app_name", "as_json") or source is not click.core.ParameterSource.COMMANDLINE:
            continue
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(getattr(value, "name", value))
        text = _shown(text) if name == _TARGET else text
        parts.append(text if isinstance(parameter, click.Argument) else f"{parameter.opts[-1]} {text}")
    return " ".join(parts)


def _shown(target: str) -> str:
    """A recipient of notices without what may be a secret: of a webhook only the server, of a program its name.

    Keys for all apps may read the log.
    """
    if "://" not in target:
        return target.split(" ")[0]
    scheme, _, rest = target.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/…"


@contextlib.contextmanager
def recorded(context: click.Context) -> Iterator[None]:
    """Record how a call ends, however it ends; exceptions pass through."""
    try:
        yield
    except BaseException:
        result, code, why = outcome(sys.exc_info()[1])
        record = of(context)
        if not record.act and record.who and record.who.key and result == "failed" and code in (2, 12, 13):
            result = "refused"
        record.end(result, code, why)
        raise
    of(context).end("done", 0, "")


def outcome(error: BaseException | None) -> "tuple[Result, int, str]":
    """The result, exit code and reason of a call that raised this."""
    if isinstance(error, Ending):
        return "failed", error.exit_code, error.what
    if isinstance(error, click.exceptions.Exit):
        return ("failed" if error.exit_code else "done"), error.exit_code, ""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return ("failed" if code else "done"), code, ""
    if isinstance(error, click.ClickException):
        return "failed", error.exit_code, error.format_message()
    if isinstance(error, OSError):
        return "failed", files.os_error(error, "").exit_code, error.strerror or ""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "failed", 130, ""
    return "failed", 1, type(error).__name__

"""Diagnostics of the embedded engine's own parts, for `pushrod doctor`. Changes nothing."""

from collections.abc import Callable, Iterator, Sequence

from pushrod.adapters.binaries import Part
from pushrod.adapters.nginx import Edge
from pushrod.adapters.systemd import BootUnit
from pushrod.core.errors import PushrodError
from pushrod.core.values import Diagnostic
from pushrod.state.apps import App, Root
from pushrod.system import accounts, tails


def of_parts(parts: Sequence[Part]) -> Iterator[Diagnostic]:
    """The programs in use, and the source of each."""
    for part in parts:
        if part.problem:
            yield Diagnostic(part.name, "broken", "cannot be used", part.problem)
        else:
            yield Diagnostic(part.name, "ok", f"{part.version} from {part.source}")


def of_account(find: Callable[[], accounts.Account | None]) -> Diagnostic:
    """The account that the children run as."""
    try:
        account = find()
    except PushrodError as e:
        return Diagnostic("account", "broken", e.what, e.hint)
    if account is None:
        return Diagnostic("account", "ok", "everything runs as you")
    if account.reach:
        return Diagnostic(
            "account",
            "warning",
            f"children run as {account.name} with CAP_{account.reach.upper()}: a directory above is closed to it",
            "move the root and this installation below directories that every user may enter, for example /opt and "
            "/var/lib",
        )
    return Diagnostic("account", "ok", f"children run as {account.name}")


def of_files(root: Root) -> Iterator[Diagnostic]:
    """Whether the files of a root are closed to the machine's other accounts."""
    for path in (root.path, root.apps_directory, root.runtime):
        if path.exists() and path.stat().st_mode & 0o007:
            yield Diagnostic(
                "files", "warning", f"{path} is open to other accounts", "`pushrod up` of any app closes it"
            )


def of_rooms(find: Callable[[], str], find_address: Callable[[], str]) -> Iterator[Diagnostic]:
    """Whether the kernel refuses instances their own names, paths and addresses."""
    try:
        refusal = find()
        lacking = "names, paths and addresses" if refusal and find_address() else "names and paths"
    except PushrodError:  # of the account, which has a diagnostic of its own
        return
    if refusal:
        yield Diagnostic(
            "kernel",
            "warning",
            f"instances have no {lacking} of their own: {refusal}",
            "allow user namespaces and seccomp filters (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container, its options), then push again",
        )


def of_boot(unit: BootUnit) -> Iterator[Diagnostic]:
    """Whether systemd starts the apps at boot, if its user has enabled that."""
    if not unit.installed:
        return
    if unit.enabled():
        yield Diagnostic("boot", "ok", f"{unit.name} starts the apps")
    else:
        yield Diagnostic(
            "boot", "broken", f"{unit.name} is not enabled", "`pushrod service install` enables it"
        )


def of_edge(find: Callable[[], Edge], apps: Sequence[App]) -> Iterator[Diagnostic]:
    """Whether nginx answers, if an app should be up."""
    if not any(map(_should_be_up, apps)):
        return
    try:
        edge = find()
        if edge.answering():
            yield Diagnostic("edge", "ok", "answers")
            return
    except PushrodError as e:
        yield Diagnostic("edge", "broken", e.what, e.hint)
        return
    log = tails.of_file(edge.logs / "error.log", 1)
    fix = "`pushrod up` starts it, or reports why it cannot"
    yield Diagnostic("edge", "broken", f"nginx does not answer: {' '.join(log)}", fix)


def _should_be_up(app: App) -> bool:
    try:
        return not app.settings.down
    except PushrodError:  # the app's own diagnostic reports it
        return False

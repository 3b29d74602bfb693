"""certbot: certificates by the ACME protocol, proved by a file that the edge serves. Needs no root.

certbot itself decides whether a certificate is due: by the server's renewal information (ARI, RFC 9773), else when a
third of its lifetime is left. Version 4.1 is required, the first that requests that information (certbot's list of
changes).
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pushrod.adapters.openssl import Pair
from pushrod.core.errors import HostError
from pushrod.core.patterns import lazy
from pushrod.system import files, locks, processes, tails

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
_TIMEOUT = 180.0  # seconds; the server checks each name from several places
_LOCK = 600.0  # seconds to wait for another app's turn: certbot refuses to run twice in one directory


class Request(NamedTuple):
    """A request for a certificate: its name in certbot's directory, and the host names that it covers."""

    name: str
    domains: Sequence[str]
    email: str = ""
    force: bool = False


def server() -> str:
    """The ACME server: Let's Encrypt, or the one in PUSHROD_ACME_SERVER."""
    return os.environ.get("PUSHROD_ACME_SERVER") or LETS_ENCRYPT


def obtain(request: Request, directory: Path, webroot: Path) -> Pair:
    """The certificate for some names: the existing one unless certbot considers it due, else a new one.

    `directory` contains all of certbot's files, `webroot` is what the edge serves. Agrees to the server's terms.
    Raises HostError if certbot is missing or the server refuses, cannot be reached, or cannot reach us.
    """
    program = find()
    if program is None:
        raise HostError(
            "certbot is not installed",
            hint="install pushrod[host] where pushrod is installed: it includes certbot",
        )
    live = directory / "config" / "live" / request.name
    with locks.lock(directory / "lock", purpose="getting a certificate", timeout=_LOCK):
        done = processes.run([program, *_argv(request, directory, webroot)], timeout=_TIMEOUT, umask=0o077)
    if done.status != 0:
        raise _refused(f"{done.stdout}\n{done.stderr}", directory / "logs" / "letsencrypt.log")
    return Pair((live / "fullchain.pem").read_text(), (live / "privkey.pem").read_text())


def find() -> str | None:
    """The program that was installed with pushrod, else the machine's own; None if there is none."""
    beside = Path(sys.prefix) / "bin" / "certbot"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("certbot")


def delete(name: str, directory: Path) -> None:
    """Delete a certificate, if certbot has it."""
    for path in (directory / "config" / kind / name for kind in ("live", "archive")):
        files.remove_tree(path)
    (directory / "config" / "renewal" / f"{name}.conf").unlink(missing_ok=True)


def _argv(request: Request, directory: Path, webroot: Path) -> list[str]:
    account = ["--email", request.email] if request.email else ["--register-unsafely-without-email"]
    places = {"config": "config", "work": "work", "logs": "logs"}
    return [
        *("certonly", "--non-interactive", "--agree-tos", *account, "--server", server()),
        *("--webroot", "--webroot-path", str(webroot), "--key-type", "ecdsa", "--no-directory-hooks"),
        *(word for kind, name in places.items() for word in (f"--{kind}-dir", str(directory / name))),
        *("--max-log-backups", "10", "--cert-name", request.name, "--renew-with-new-domains"),
        "--force-renewal" if request.force else "--keep-until-expiring",
        *(word for domain in request.domains for word in ("-d", domain)),
    ]


# Patterns for certbot's log. Its output is not enough: Debian 12's certbot hides the reason behind its own error.
_PROBLEM = lazy(r"acme\.messages\.Error: urn:ietf:params:acme:error:(\w+) :: (?:[^:]+ :: )?(.+)")
_DETAIL = lazy(r"^\s*Detail: (.+)$", re.MULTILINE)
_UNREACHABLE = ("ConnectionError", "Max retries exceeded", "Connection refused", "timed out")


def _refused(output: str, log: Path) -> HostError:
    """The error for certbot's output: one sentence, with what to do about it."""
    lines = tuple(line for line in output.splitlines() if line.strip())[-12:]
    logged = "\n".join(tails.of_file(log, 1000))
    problems = _PROBLEM.findall(logged)
    problems = [
        problem for problem in problems if problem[0] != "badNonce"
    ] or problems  # certbot retries these
    kind, detail = problems[-1] if problems else ("", "")
    if kind == "rateLimited":
        what = f"the ACME server issues no more certificates for now: {detail}"
        hint = "pushrod tries again twice a day; meanwhile the current certificate stays"
    elif details := list(dict.fromkeys(_DETAIL.findall(output))):
        what = f"the ACME server could not prove the names: {'; '.join(details)}"
        hint = "each name must resolve to this server, with port 80 open to the Internet; then `pushrod cert renew`"
    elif kind:
        what, hint = f"the ACME server refuses: {detail}", "fix that, then `pushrod cert renew`"
    elif any(word in f"{output}\n{logged}" for word in _UNREACHABLE):
        what, hint = (
            "the ACME server cannot be reached",
            "check this machine's Internet access: DNS, port 443",
        )
    else:
        what, hint = "certbot failed", f"see {log}"
    return HostError(what, where=server(), hint=hint, log=lines)

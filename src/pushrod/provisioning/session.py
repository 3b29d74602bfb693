"""The environment of a key's session on a host: nothing in it is the client's choice except the language of messages.

sshd takes from a client whatever variables its `AcceptEnv` permits, which `sshd` limits for the account. The gate
trusts none of them: where programs are looked for is fixed, and proxies are those of the machine.
"""

import re
from collections.abc import Mapping
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MACHINE = Path("/etc/environment")
"""The machine's variables for every session (pam_env(8))."""

# Set by sshd itself, after the client's variables; and the languages, which every sshd accepts from clients.
_KEPT = ("HOME", "USER", "SHELL", "SSH_CONNECTION", "SSH_ORIGINAL_COMMAND", "GIT_PROTOCOL")
_LANGUAGES = ("LANG", "LC_ALL", "LC_CTYPE")
_PROXIES = re.compile(r"(?:export\s+)?((?:https?|no|HTTPS?|NO)_(?:proxy|PROXY))=(.*)")
_LARGEST = 1 << 16


def environment(given: Mapping[str, str], machine: Path = MACHINE) -> dict[str, str]:
    """The variables of sshd that a session keeps, with the machine's own proxies."""
    kept = {name: given[name] for name in (*_KEPT, *_LANGUAGES) if name in given}
    return kept | proxies(machine) | {"PATH": PATH}


def proxies(machine: Path = MACHINE) -> dict[str, str]:
    """The proxies in the file of the machine's variables; none if there is no such file."""
    try:
        with machine.open("rb") as f:
            text = f.read(_LARGEST).decode(errors="replace")
    except OSError:
        return {}
    variables = {}
    for line in text.splitlines():
        if match := _PROXIES.fullmatch(line.strip()):
            variables[match[1]] = match[2].strip().strip("\"'")
    return {name: value for name, value in variables.items() if value}

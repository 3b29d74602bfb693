"""What a host's owner can allow an app to ask for: the words for it, and what each word covers. Pure."""

import difflib
import posixpath
from collections.abc import Collection

from pushrod.core.errors import UnknownNameError
from pushrod.core.patterns import lazy
from pushrod.manifest import domains

WORDS = {
    "devices": "devices of the host, GPUs among them (`devices`, `device_cgroup_rules`, `gpus`)",
    "docker-socket": "the Docker socket: it makes the app root on the host",
    "frontend": "frontends of builds other than Docker's own (`# syntax=`): they tell its engine what to do",
    "host-cgroup": "the host's control groups (`cgroup: host`)",
    "host-ipc": "the host's shared memory (`ipc: host`)",
    "host-network": "the host's network (`network_mode: host`)",
    "host-pid": "the host's processes (`pid: host`)",
    "host-registry": "images from registries that only the host can reach: the host's engine pulls them (`image`)",
    "host-userns": "the host's user namespace (`userns_mode: host`)",
    "host-uts": "the host's name (`uts: host`)",
    "nginx": "any nginx configuration lines (`x-pushrod.nginx`): all apps share the edge",
    "privileged": "everything that root may do (`privileged`); also every capability",
    "runtime": "another container runtime (`runtime`)",
    "sysctls": "kernel settings other than harmless ones of the container's own network and IPC (`sysctls`)",
    "unconfined": "security profiles other than Docker's own (`security_opt`), and `no-new-privileges: false`",
    "volume-driver": "volumes with a driver other than `local`, or with arbitrary mount options",
}
"""The fixed words. In addition: a capability (`NET_ADMIN`), an absolute path, `volume:NAME`, `domain:NAME`,
`submodules:HOST`, `notify:HOST`, `vault:NAME`."""

# The capabilities a container has by default, and those it can ask for:
# https://docs.docker.com/engine/containers/run/#runtime-privilege-and-linux-capabilities
DEFAULT_CAPABILITIES = frozenset((
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
))  # fmt: skip
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
"""The capabilities a container that starts as root keeps: those with which the entry points of the official images
chown their data to their own account, switch to it, and listen below 1024. Seven of Docker's fourteen; of the
others, MKNOD and SETFCAP leave files that are dangerous to the host, NET_RAW forges addresses, AUDIT_WRITE audit
records."""

CAPABILITIES = (DEFAULT_CAPABILITIES - {*ROOT_CAPABILITIES}) | frozenset((
    "AUDIT_CONTROL", "AUDIT_READ", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH",
    "IPC_LOCK", "IPC_OWNER", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "NET_ADMIN",
    "NET_BROADCAST", "PERFMON", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
    "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
))  # fmt: skip
VOLUME = "volume:"
DOMAIN = "domain:"
"""Prefix for a name below another app's, or a wildcard above one; `domain:*.example.com` covers every name
below."""

SUBMODULES = "submodules:"
"""Prefix for a server, as `host` or `host:port`, from which submodules and files of Git LFS may be fetched at any
address."""

NOTIFY = "notify:"
"""Prefix for a server, as `host` or `host:port`, whose webhooks the app may call at any address."""

VAULT = "vault:"
"""Prefix for a vault other than the usual one, which is every app's."""

# Access to one of these sockets is root on the host.
_SOCKETS = ("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")
_VOLUME = lazy(r"volume:[A-Za-z0-9][A-Za-z0-9_.-]*")
VAULT_WORD = lazy(r"vault:[a-z][a-z0-9-]{0,30}")
_SERVER = lazy(r"(submodules|notify):[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


def check_word(text: str) -> str:
    """A word of `pushrod apps allow` in its stored form (`CAP_NET_ADMIN` becomes `NET_ADMIN`).

    Raises UnknownNameError if it is not one.
    """
    if text in WORDS or _VOLUME.fullmatch(text) or VAULT_WORD.fullmatch(text):
        return text
    if text.startswith("/") and "\0" not in text:
        return host_path(text)
    if text.startswith(DOMAIN):
        return DOMAIN + _domain(text.removeprefix(DOMAIN))
    if _SERVER.fullmatch(server := text.lower().removesuffix(":443")):
        return server
    if capability(text) in CAPABILITIES:
        return capability(text)
    near = difflib.get_close_matches(text, (*WORDS, *CAPABILITIES), n=1)
    raise UnknownNameError(
        f"`{text}` is not a grant",
        hint=(f"did you mean `{near[0]}`? " if near else "")
        + f"{', '.join(WORDS)}, a capability such as NET_ADMIN, an absolute path, volume:NAME, domain:NAME, "
        "submodules:HOST[:PORT], notify:HOST[:PORT] or vault:NAME",
    )


def _domain(text: str) -> str:
    try:
        return domains.normal(text)
    except ValueError as e:
        raise UnknownNameError(
            f"`{text}` is not a host name", hint=str(e) or "such as shop.example.com"
        ) from e


def capability(text: str) -> str:
    """A capability's name as Docker's documentation writes it."""
    return text.upper().removeprefix("CAP_")


def host_path(path: str) -> str:
    """A normalised path of the host; /var/run becomes /run, to which it is a link on every supported system."""
    path = posixpath.normpath("/" + path.lstrip("/"))
    return path.removeprefix("/var") if path == "/var/run" or path.startswith("/var/run/") else path


def below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def is_socket(path: str) -> bool:
    """Whether a path of the host is Docker's socket, or a directory that contains it."""
    path = host_path(path)
    holding = ("/run", *(posixpath.dirname(s) for s in _SOCKETS))
    return path in holding or any(below(path, s) for s in _SOCKETS)


def covered(word: str, allowed: Collection[str]) -> bool:
    """Whether a word is allowed: itself, by a directory above a path, or by `privileged` for a capability."""
    if word in allowed:
        return True
    if word.startswith("/"):
        return any(below(word, host_path(given)) for given in allowed if given.startswith("/"))
    if word.startswith(DOMAIN):
        above = (given.removeprefix(f"{DOMAIN}*") for given in allowed if given.startswith(f"{DOMAIN}*."))
        return any(word.endswith(name) for name in above)
    return "privileged" in allowed and (word == "ALL" or word in CAPABILITIES)


def servers(allowed: Collection[str]) -> list[str]:
    """The servers, as `host` or `host:port`, from which submodules and LFS files may be fetched at any address."""
    return [w.removeprefix(SUBMODULES) for w in allowed if w.startswith(SUBMODULES)]


def webhooks(allowed: Collection[str]) -> list[str]:
    """The servers, as `host` or `host:port`, whose webhooks the app may call at any address."""
    return [w.removeprefix(NOTIFY) for w in allowed if w.startswith(NOTIFY)]

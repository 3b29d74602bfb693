"""Detect services that seem to need capabilities which Docker gives every container and pushrod does not.

Before anything runs: from a service's command, the commit's scripts that it runs, and the file capabilities set by
its Dockerfile. Then from its image: a program whose file has a capability that the container lacks cannot be executed
at all. Finally from a container's output.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pushrod.adapters import docker, dockerfile
from pushrod.core.errors import PushrodError
from pushrod.core.values import Manifest, Service
from pushrod.engines import scripts
from pushrod.engines.docker import containers, filecaps, images, names
from pushrod.manifest import grants
from pushrod.manifest.grants import DEFAULT_CAPABILITIES, ROOT_CAPABILITIES
from pushrod.state.apps import App

Evidence = dict[str, str]
"""A capability, and why it seems needed."""

TAKEN = DEFAULT_CAPABILITIES - {*ROOT_CAPABILITIES}
"""The capabilities that Docker gives a container, and pushrod only if the host's owner allows it."""

_MEANING = {
    "AUDIT_WRITE": "audit records",
    "FSETID": "setuid files of others",
    "MKNOD": "device files",
    "NET_RAW": "raw sockets",
    "SETFCAP": "capabilities of files",
    "SETPCAP": "capabilities of processes",
    "SYS_CHROOT": "chroot",
}
_PROGRAMS = {
    "NET_RAW": "ping6?|fping|arping|hping3|mtr|tcpdump|tshark|dumpcap|nmap|masscan|arp-scan|dhcpd|smokeping",
    "SYS_CHROOT": "chroot|debootstrap|sshd|vsftpd|unbound",
    "MKNOD": "mknod|debootstrap",
    "SETFCAP": "setcap",
    "SETPCAP": "capsh",
}
"""Programs that need one."""

_IMAGES = {
    "NET_RAW": "smokeping|blackbox[_-]exporter|uptime-kuma|dhcpd",
    "SYS_CHROOT": "sshd|openssh-server|sftp|vsftpd|unbound|postfix|docker-mailserver",
}
"""The last parts of the names of images whose programs need one."""

_CALLS = {
    "NET_RAW": r"\bSOCK_RAW\b|\b[AP]F_PACKET\b|\bfrom scapy\b|\bimport (?:scapy|ping3|icmplib)\b"
    r"|\brequire\(['\"](?:raw-socket|net-ping)['\"]\)",
    "SYS_CHROOT": r"\bchroot\s*\(",
    "MKNOD": r"\bmknod\s*\(",
    "SETFCAP": r"\bcap_set_file\b",
}
"""How code requests them itself."""

_REFUSED = re.compile(r"operation not permitted|\bEPERM\b|errno 1\b", re.IGNORECASE)
_REPORTED = {
    "SYS_CHROOT": r"chroot",
    "MKNOD": r"mknod",
    "NET_RAW": r"raw.?socket|SOCK_RAW|packet socket|AF_PACKET|\bicmp|\bping6?\b|socket: operation",
    "SETFCAP": r"setcap|capabilit\w+ on file|set file cap",
    "SETPCAP": r"capset|capability bounding",
    "AUDIT_WRITE": r"audit",
}
"""What a line that reports missing permission is about."""

_LARGEST = 256 << 10  # bytes of a script that are searched
_COMMENT = re.compile(r"^\s*(?:#|//).*$", re.MULTILINE)
_SETCAP = re.compile(r"\bsetcap\b[^\n]*?((?:cap_[a-z_]+,?)+)\s*[=+]")
# A program is the first word of a shell command, or a whole string where code starts it.
_STARTED = (
    r"""(?:^|[;&|(`'"]|^command\s*=|\b(?:exec|sudo|if|while|until|then|do|else)\s)\s*(?:/[\w./-]*/)?"""
    r"""(?:{})(?=[\s;&|)'"`]|$)"""
)


def remarks(
    app: App,
    document: Mapping[str, Any],
    manifest: Manifest,
    checkout: Path,
    named: Mapping[str, str],
) -> list[str]:
    """Notes on an app's services. `named` are the names of their images, which may not exist here."""
    notes, known = [], filecaps.Cache(names.file_capabilities(app))
    for service in (*manifest.stateless, *manifest.stores):
        raw = (document.get("services") or {}).get(service.name) or {}
        given = {grants.capability(str(c)) for c in raw.get("cap_add") or []}
        needed = of_image(document, service, named.get(service.name, ""), known) | needs(service, checkout)
        noted = " ".join(n for n in manifest.notes if n.partition(":")[0].split(", ").count(service.name))
        lacking = {c: why for c, why in needed.items() if c not in given and c not in noted}
        if lacking and not raw.get("privileged") and "ALL" not in given:
            notes.append(_remark(app.name, service.name, lacking))
    return notes


def needs(service: Service, checkout: Path) -> Evidence:
    """The missing capabilities that a service's commands seem to need."""
    evidence: Evidence = {}
    words = [word for argv in _argvs(service, checkout) for word in argv]
    named = posixpath.basename(service.image.partition("@")[0]).partition(":")[0]
    for capability, called in _IMAGES.items():
        if service.build is None and re.fullmatch(called, named):
            evidence[capability] = f"the image {named}"
    for capability, programs in _PROGRAMS.items():
        for word in words:
            if started := re.search(_STARTED.format(programs), word, re.MULTILINE):
                evidence[capability] = f"`{started[0].strip(' ;&|(`').split()[-1]}`"
    for path, text in _scripts(words, service, checkout):
        for capability in TAKEN:
            programs, calls = _PROGRAMS.get(capability, "(?!)"), _CALLS.get(capability, "(?!)")
            if re.search(f"{calls}|{_STARTED.format(programs)}", text, re.MULTILINE):
                evidence.setdefault(capability, path)
    for capability in _given_to_files(service, checkout):
        evidence.setdefault(capability, "setcap in its Dockerfile")
    return evidence


def _argvs(service: Service, checkout: Path) -> Iterator[Sequence[str]]:
    yield from scripts.argvs(service, checkout)
    yield from (hook.command for hook in (*service.post_start, *service.pre_stop))
    yield service.health.command


def _scripts(words: Sequence[str], service: Service, checkout: Path) -> Iterator[tuple[str, str]]:
    """The commit's files that a command refers to, without their comments."""
    seen = set()
    text = "\n".join(words)
    modules = [m.replace(".", "/") for m in re.findall(r"-m\s+([\w.]+)", text)]
    started = [
        *re.split(r"[\s;&|()'\"]+", text),
        *(f"{m}{end}" for m in modules for end in (".py", "/__main__.py")),
    ]
    for word in started:
        path = scripts.tracked(word, service, checkout) if word else None
        if path is None or path in seen or path.stat().st_size > _LARGEST:
            continue
        seen.add(path)
        yield str(path.relative_to(checkout)), _COMMENT.sub("", path.read_text(errors="replace"))


def _given_to_files(service: Service, checkout: Path) -> Iterator[str]:
    """The capabilities missing in containers that a Dockerfile gives to files of its image."""
    if service.build is None:
        return
    path = checkout / service.build.context / service.build.dockerfile
    try:
        text = path.read_text(errors="replace") if path.stat().st_size <= _LARGEST else ""
    except OSError:
        return
    for named in _SETCAP.findall("\n".join(dockerfile.runs(text))):
        yield from ({n.removeprefix("cap_").upper() for n in named.split(",")} & TAKEN)


def of_image(document: Mapping[str, Any], service: Service, name: str, known: filecaps.Cache) -> Evidence:
    """The file capabilities in an image that its containers lack; none if it is not here.

    A container that does not start as root lacks those of root, too.
    """
    if not name or docker.image(name) is None:
        return {}
    lacking = DEFAULT_CAPABILITIES - {*containers.capabilities(document, service, images.parts(name))}
    files = sorted(known.of_image(name).items(), reverse=True)
    return {c: path for path, given in files for c in given & lacking}


def _remark(app: str, service: str, lacking: Evidence) -> str:
    by_place: dict[str, list[str]] = {}
    for capability in sorted(lacking):
        meaning = _MEANING.get(capability)
        label = f"{meaning} ({capability})" if meaning else capability
        by_place.setdefault(lacking[capability], []).append(label)
    asked = "; ".join(f"{place}: {', '.join(those)}" for place, those in by_place.items())
    return f"{service}: seems to need capabilities that containers do not have here ({asked}). " + _remedy(
        app, lacking
    )


def _remedy(app: str, capabilities: Iterable[str]) -> str:
    requested = sorted(capabilities)
    words = " ".join(c for c in requested if c in TAKEN)
    owner = f", and by the host's owner: pushrod apps allow {app} {words}" if words else ""
    return f"To have them: `cap_add: [{', '.join(requested)}]`{owner}"


# ---- from output ---------------------------------------------------------------------------------------------


def in_log(lines: Iterable[str]) -> Evidence:
    """The capabilities whose lack a container's output reports, each with the line."""
    evidence: Evidence = {}
    for line in lines:
        if _REFUSED.search(line):
            about = (c for c, words in _REPORTED.items() if re.search(words, line, re.IGNORECASE))
            evidence |= {c: f"`{line.strip()[:120]}`" for c in about if c not in evidence}
    return evidence


def from_log(app: str, service: str, lines: Iterable[str], given: Iterable[str], noted: str) -> list[str]:
    """Notes on an instance's output. `given` are its capabilities, `noted` earlier notes."""
    lacking = {c: why for c, why in in_log(lines).items() if c not in {*given} and c not in noted}
    return [_remark(app, service, lacking)] if lacking else []


def explain(error: PushrodError, app: str) -> None:
    """Add to an error's hint which rights, normal under Docker, the container lacked according to its log."""
    lines = [error.what, *error.log]
    hints = [_remedy(app, evidence)] if (evidence := in_log(lines)) else []
    text = "\n".join(lines)
    if re.search(r"no.new.privileges", text, re.IGNORECASE):
        hints.append(
            "setuid programs (sudo) gain no rights here: `security_opt: ['no-new-privileges:false']`, and by "
            f"the host's owner: pushrod apps allow {app} unconfined"
        )
    if not hints and re.search(r"exec\b.*operation not permitted", text, re.IGNORECASE):
        hints.append(
            "its file has capabilities that the container lacks: getcap shows them, `cap_add` asks for them"
        )
    if hints:
        error.hint = ". ".join([*hints, *([error.hint] if error.hint else [])])

"""The rules for rights: namespaces, capabilities, security profiles, kernel settings, labels. Pure."""

from pushrod.core.patterns import lazy
from pushrod.core.values import NO_VAULT, USUAL_VAULT
from pushrod.manifest import grants
from pushrod.manifest.document import Key
from pushrod.manifest.policy.reading import GONE, Reading, Rule, listed
from pushrod.manifest.policy.refusals import unsupported

# Sysctls of a container's own namespaces that Docker accepts and that cost nobody else anything: its network's
# (queues and time-outs, ports) and its IPC's, which its memory limit bounds.
_SYSCTLS = lazy(
    r"net\.core\.somaxconn|net\.ipv4\.(ip_unprivileged_port_start|ip_local_port_range|ping_group_range)"
    r"|net\.ipv4\.tcp_(keepalive_(time|intvl|probes)|fin_timeout|syn_retries|synack_retries|syncookies|tw_reuse"
    r"|max_syn_backlog|rmem|wmem|retries[12]|slow_start_after_idle|timestamps|fastopen"
    r"|ecn|sack|window_scaling|mtu_probing|notsent_lowat|no_metrics_save|orphan_retries|max_tw_buckets)"
    r"|kernel\.(msg(max|mnb|mni)|sem|shm(all|max|mni|_rmid_forced))"
    r"|fs\.mqueue\.[a-z_]+"
)
_RESERVED = ("pushrod.", "com.docker.")
_MOST_LABELLED = 64 << 10  # bytes of a service's labels: every list of containers has them
_NAMESPACES = {
    "pid": ("host-pid", ()),
    "ipc": ("host-ipc", ("private", "shareable", "none")),
    "uts": ("host-uts", ()),
    "userns_mode": ("host-userns", ()),
    "cgroup": ("host-cgroup", ("private",)),
    "network_mode": ("host-network", ("none", "bridge", "default")),
}
# Options that leave a container as confined as Docker makes it, with `:` written as `=`.
_CONFINED = ("seccomp=builtin", "apparmor=docker-default")


def namespace(on: Reading, key: Key) -> object:
    name, text = key.path.rpartition(".")[2], key.text()
    word, own = _NAMESPACES[name]
    if text == "host":
        return on.want(key, word)
    if text.startswith(("container:", "service:")):
        unsupported(
            key,
            f"`{name}: {text}` is not supported: two releases run at once, so each instance has its own",
            "remove it; services of a release reach each other by name",
        )
    return text if text in ("", *own) else on.leave(key)


def privileged(on: Reading, key: Key) -> object:
    return on.want(key, "privileged") if key.yes() else GONE


def capabilities(on: Reading, key: Key) -> object:
    kept, left = [], []
    for item in key.sequence():
        name = grants.capability(item.text())
        if name in grants.ROOT_CAPABILITIES:
            kept.append(item.value)
        elif name in grants.DEFAULT_CAPABILITIES and not on.has(name):
            left.append(name)
        else:
            on.want(item, name)
            kept.append(item.value)
    if left:
        words = " ".join(left)
        on.note(
            f"{', '.join(left)} of `cap_add` not given; the host's owner can grant it: "
            f"pushrod apps allow {on.app} {words}"
        )
    return kept or GONE


def security(on: Reading, key: Key) -> object:
    kept = []
    for item in key.sequence():
        option = item.text().replace(":", "=", 1)
        name, _, value = option.partition("=")
        if name == "no-new-privileges":
            if value in ("", "true") or on.has("unconfined"):
                kept.append(item.value)
            else:
                on.note("`no-new-privileges` stays on: setuid programs gain no rights")
        elif name == "label" and not on.has("unconfined"):
            on.note("`label` of `security_opt` not applied: it is for SELinux")
        elif option in _CONFINED:
            kept.append(item.value)
        else:
            on.want(item, "unconfined")
            kept.append(item.value)
    return kept or GONE


def sysctls(on: Reading, key: Key) -> object:
    kept, left = {}, []
    for name, item in key.options().items():
        value = item.text().partition("=")[2] if isinstance(key.value, list) else item.text()
        if not _SYSCTLS.fullmatch(name) and name.startswith("net.") and not on.has("sysctls"):
            left.append(name)
            continue
        if not _SYSCTLS.fullmatch(name):
            on.want(item, "sysctls")
        kept[name] = value
    if left:
        on.note(f"{listed(left)} of `sysctls` not applied")
    return kept or GONE


def worded_if_given(word: str) -> "Rule":
    return lambda on, key: on.want(key, word) if key.value else GONE


def runtime(on: Reading, key: Key) -> object:
    return key.value if key.text() in ("", "runc") else on.want(key, "runtime")


def vault(on: Reading, key: Key) -> object:
    """A vault holds a lock while it is written, and costs its owner money: only the usual one is for every app."""
    name = key.text()
    word = f"{grants.VAULT}{name}"
    named = name not in (USUAL_VAULT, NO_VAULT) and grants.VAULT_WORD.fullmatch(word)
    return on.want(key, word) if named else key.value


def labels(on: Reading, key: Key) -> object:
    given = key.options()
    if isinstance(key.value, list):
        given = {name: Key(item.path, item.text().partition("=")[2]) for name, item in given.items()}
    taken = [name for name in given if name.startswith(_RESERVED)]
    if taken:
        on.note(f"its labels {listed(taken)} are left out: they are reserved for the host")
    kept = {name: item.value for name, item in given.items() if name not in taken}
    if sum(len(f"{name}{value}".encode(errors="replace")) for name, value in kept.items()) > _MOST_LABELLED:
        key.wrong(f"labels of at most {_MOST_LABELLED >> 10} KiB in all")
    return kept or GONE

"""Every verb, in the order of `pushrod --help`: its module and its properties. Pure."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pushrod.provisioning.kinds import (
    Kind,
    app,
    audited,
    chosen,
    commit,
    count,
    dash,
    flag,
    for_all,
    here,
    image,
    manifest,
    named,
    new_app,
    not_given,
    number,
    perhaps,
    perhaps_commit,
    program,
    sent,
    settings,
    text,
    usual,
    variable,
    word,
)

_QUICK, _LONG, _DAY = 120, 4 * 3600, 24 * 3600


class Rule(NamedTuple):
    """A verb that a key may run: the kind of each parameter, the time limit in seconds, whether it is read-only
    (`read_only`), and whether it needs a key for all apps (`all_apps`)."""

    parameters: Mapping[str, Kind]
    seconds: int
    read_only: bool = False
    all_apps: bool = False


_ROOT: dict[str, Kind] = {"root": not_given}
_APP: dict[str, Kind] = {"app_name": app, **_ROOT}
_JSON: dict[str, Kind] = {"as_json": flag}
_LOGS: dict[str, Kind] = {
    "service": perhaps,
    "follow": flag,
    "lines": number(0, 1_000_000),
    "release": number(0, 1 << 31),
    "edge": flag,
    "statuses": text,
    "slow": text,
}
_EXPORT: dict[str, Kind] = {
    "commit": perhaps_commit,
    "registry": named,
    "edge_image": named,
    "images": image,
    "with_secrets": not_given,
}
_TABLE: dict[str, Kind] = {"lines": number(1, 1000), "store": perhaps}


class Verb(NamedTuple):
    """A verb. `module` is its module in `cli/`, imported only when the verb is called. `key` is the rule for SSH
    keys; without one, no key may run the verb. `recorded`: its calls are in the audit log. `by_timer`: a systemd
    timer runs it too, and those runs are not recorded. `stays_root`: on a Docker host, root does not become the
    account."""

    module: str
    key: Rule | None = None
    recorded: bool = True
    by_timer: bool = False
    stays_root: bool = False


VERBS: dict[str, Verb] = {
    "new": Verb("new", recorded=False),
    "up": Verb("deploy"),
    "down": Verb("deploy", Rule(_APP | {"directory": here}, _LONG)),
    "deploy": Verb("deploy"),
    "plan": Verb("plan", Rule(_APP | _JSON | {"ref": commit, "file": manifest}, 600, read_only=True)),
    "rollback": Verb("deploy", Rule(_APP | {"number": number(0, 1 << 31), "across_migrations": flag}, _LONG)),
    "restart": Verb("deploy", Rule(_APP, _LONG)),
    "scale": Verb("deploy", Rule(_APP | {"counts": count}, _LONG)),
    "maintenance on": Verb(
        "maintenance", Rule(_APP | {"allow": text, "retry_after": number(1, 31_536_000)}, _LONG)
    ),
    "maintenance off": Verb("maintenance", Rule(_APP, _LONG)),
    "releases": Verb("inspect", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "status": Verb("inspect", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "logs": Verb("inspect", Rule(_APP | _JSON | _LOGS, _DAY, read_only=True)),
    "exec": Verb("exec", Rule(_APP | {"service": word, "argv": program}, _DAY)),
    "run": Verb("exec", Rule(_APP | {"service": perhaps, "argv": program}, _DAY)),
    "secret set": Verb("secret", Rule(_APP | {"name": variable, "given": dash}, _QUICK)),
    "secret import": Verb("secret", Rule(_APP | {"file": sent}, _QUICK)),
    "secret list": Verb("secret", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "secret unset": Verb("secret", Rule(_APP | {"names": variable}, _QUICK)),
    "db backup": Verb("db", Rule(_APP | {"every": flag}, _LONG), by_timer=True),
    "db backups": Verb("db", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "db verify": Verb("db", Rule(_APP | {"when": perhaps}, _LONG)),
    "db restore": Verb(
        "db",
        Rule(
            _APP | {"when": perhaps, "to": audited, "into": perhaps, "from_vault": flag, "yes": flag}, _LONG
        ),
    ),
    "db archive": Verb("db", Rule(_APP | {"every": flag, "again": number(10, 3600)}, _DAY), by_timer=True),
    "db wal": Verb("db", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "db shell": Verb("db", Rule(_APP | {"read_only": flag, "store": perhaps}, _DAY)),
    "db admin": Verb("db"),
    "db tunnel": Verb("db", Rule(_APP | {"write": flag, "store": perhaps}, _DAY)),
    "db size": Verb("db", Rule(_APP | _JSON | _TABLE, _QUICK, read_only=True)),
    "db top": Verb("db", Rule(_APP | _JSON | _TABLE, _QUICK, read_only=True)),
    "db export": Verb("db", Rule(_APP | {"file": sent, "store": perhaps}, _LONG)),
    "db import": Verb("db", Rule(_APP | {"file": sent, "store": perhaps, "yes": flag}, _LONG)),
    "db rotate": Verb("db", Rule(_APP, _LONG)),
    "db upgrade": Verb(
        "db",
        Rule(
            _APP
            | {"to": number(10, 99), "image": perhaps, "programs": not_given, "rehearse": flag}
            | {"remove_old": flag, "yes": flag, "store": perhaps},
            _DAY,
        ),
    ),
    "redis shell": Verb("redis", Rule(_APP | {"store": perhaps}, _DAY)),
    "redis stats": Verb(
        "redis", Rule(_APP | _JSON | {"lines": number(1, 128), "store": perhaps}, _QUICK, read_only=True)
    ),
    "redis restore": Verb(
        "redis", Rule(_APP | {"when": perhaps, "from_vault": flag, "yes": flag, "store": perhaps}, _LONG)
    ),
    "export kubernetes": Verb(
        "export",
        Rule(
            _APP
            | _JSON
            | _EXPORT
            | {
                "directory": usual(Path("kubernetes")),
                "namespace": named,
                "cluster_version": named,
            },
            600,
            read_only=True,
        ),
    ),
    "export compose": Verb(
        "export", Rule(_APP | _JSON | _EXPORT | {"directory": usual(Path("compose"))}, 600, read_only=True)
    ),
    "cert list": Verb("cert", Rule(_APP | _JSON, _QUICK, read_only=True)),
    "cert renew": Verb("cert", Rule(_APP | {"every": flag, "force": flag}, _LONG), by_timer=True),
    "cert set": Verb("cert", Rule(_APP | {"certificate": sent, "key": not_given}, _QUICK)),
    "cert unset": Verb("cert", Rule(_APP, _QUICK)),
    "apps list": Verb("apps", Rule(_ROOT | _JSON, _QUICK, read_only=True)),
    "apps create": Verb(
        "apps",
        Rule(_ROOT | {"name": new_app, "port": number(1, 65535), "sha256": flag}, _QUICK, all_apps=True),
    ),
    "apps set": Verb("apps", Rule(_ROOT | {"name": app, "settings": settings}, _QUICK)),
    "apps destroy": Verb("apps", Rule(_ROOT | {"name": app, "yes": flag}, _LONG, all_apps=True)),
    "apps allow": Verb("apps", stays_root=True),
    "prune": Verb("apps", by_timer=True),
    "service": Verb("service"),
    "image load": Verb("image", Rule(_ROOT | {"file": sent}, _LONG, all_apps=True)),
    "doctor": Verb("doctor", Rule(_APP | _JSON | {"repair": flag}, 600, all_apps=True)),
    "metrics": Verb("metrics", recorded=False),
    "audit": Verb(
        "audit",
        Rule(
            _APP
            | _JSON
            | {
                "what": for_all("verify"),
                "by": audited,
                "verb": audited,
                "result": chosen,
                "since": audited,
                "lines": number(0, 1_000_000),
            },
            600,
            read_only=True,
        ),
        recorded=False,
        stays_root=True,
    ),
    "web": Verb("web"),
    "web call": Verb("web", recorded=False),
    "web door": Verb("web", recorded=False),
    "web serve": Verb("web", recorded=False),
    "host": Verb("host"),
    "host alarm check": Verb("host", by_timer=True),
    "host notify check": Verb("host", recorded=False),
    "host edge": Verb("host", recorded=False),
    "hook": Verb("hook", recorded=False),
    "recover": Verb("hook", recorded=False),
    "gate": Verb("gate", recorded=False),
}
"""The one table of verbs for help, the SSH gate and the audit log. A row also applies to the verbs below it that have
no row of their own."""


MODULES = {path.split()[0]: verb.module for path, verb in VERBS.items()}
"""The module of each first word, in the order of `pushrod --help`."""


def find(path: str) -> Verb:
    """The row of a verb, or of the nearest one above it; KeyError if there is none."""
    while path not in VERBS and " " in path:
        path = path.rpartition(" ")[0]
    return VERBS[path]

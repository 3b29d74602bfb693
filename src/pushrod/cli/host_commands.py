"""The commands that set a lost host's own settings again, as a copy in a vault has them.

A vault is outside, so they are printed and not run: its owner reads them, and runs what is still wanted.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from pushrod.adapters import channels
from pushrod.core import limits
from pushrod.core.errors import UnknownNameError
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.provisioning import host_settings
from pushrod.state.apps import HostSettings, Root, check_name
from pushrod.web.access import Access


def commands(copy: Root) -> list[str]:
    """One line of a shell for each setting of a copy; what cannot have been set by such a line is left out.

    Raises StateError for a file that is none of pushrod's.
    """
    there = host_settings.read(copy) if copy.hosted else HostSettings()
    words = [*_settings(there), *_members(copy)]
    lines = [shlex.join(("pushrod", *each)) for each in words]
    lines += [_recipient(one) for one in Recipients(copy).all()]
    return [line for line in lines if line.isprintable()]


def _settings(its: HostSettings) -> Iterator[Sequence[str]]:
    if words := list(_limits(its.limits)):
        yield ("host", "limits", *words)
    for app, values in sorted(its.app_limits.items()):
        if words := list(_limits(values)):
            yield ("host", "limits", "--app", check_name(app), *words)
    for what, port in (("metrics", its.metrics), ("web", its.web)):
        if port:
            yield ("host", what, "on", "--port", str(port))
    if (one := its.monitor) is not None:
        given = {"port": one.port, "days": one.days, "disk": one.disk, "memory": one.memory}
        yield ("host", "monitor", "on", *(f"--{name}={value}" for name, value in given.items()))


def _limits(values: Mapping[str, float]) -> Iterator[str]:
    for name, value in sorted(values.items()):
        try:
            word = limits.assignment(name, value)
            limits.parse(word)
        except (UnknownNameError, KeyError):
            continue
        yield word


def _members(copy: Root) -> Iterator[Sequence[str]]:
    for one in Access(copy).members():
        apps = (word for app in one.apps for word in ("--app", app))
        yield ("web", "invite", one.name, "--role", one.role, *apps)


def _recipient(one: Recipient) -> str:
    """A webhook's address may be a secret, so it is on no program's command line."""
    words = ["pushrod", "host", "alarm", "set", "-"]
    if one.deployments:
        apps = (word for app in one.apps for word in ("--app", app))
        style = () if one.style == channels.style_of(one.target) else ("--style", one.style)
        words = ["pushrod", "host", "notify", "add", one.name, "-", *style, *apps]
    return f"echo {shlex.quote(one.target)} | {shlex.join(words)}"

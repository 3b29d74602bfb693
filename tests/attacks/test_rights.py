"""Programs of an image that take other rights than those with which a container starts."""

import re

import pytest

from devtools.lab.ground import DOCKERFILE
from tests.attacks.town import MANIFEST, Attacker, Town

pytestmark = [pytest.mark.lab, pytest.mark.long]

RISES = DOCKERFILE.replace("USER nobody", "RUN cp /bin/cat /rise && chmod 4755 /rise\nUSER nobody")
ROOTED = """\
  rooted:
    build: .
    user: "0"
    command: [sleep, infinity]
    stop_grace_period: 0s
"""
HOOK = "    post_start: [{command: ['true'], user: root}]\n"


def rights(attacker: Attacker, service: str) -> dict[str, str]:
    """What the kernel says of a setuid program that somebody starts in a service (proc(5))."""
    argv = ("exec", "--app", "attacker", service, "--", "/rise", "/proc/self/status")
    done = attacker.asks(*argv)
    assert done.status == 0, done.stderr
    return dict(re.findall(r"^(\w+):\s*(.*)$", done.stdout, re.MULTILINE))


def test_a_setuid_program_has_no_more_rights_than_a_container_of_root(town: Town, attacker: Attacker) -> None:
    """None at all, unless a hook of its container must become root: then those with which others start as root."""
    try:
        done = attacker.pushes({"Dockerfile": RISES, "compose.yaml": MANIFEST + ROOTED})
        assert done.ok, done.err
        plain, rooted = rights(attacker, "web"), rights(attacker, "rooted")
        assert plain["NoNewPrivs"] == rooted["NoNewPrivs"] == "1"
        assert "0" not in plain["Uid"].split(), plain
        assert int(plain["CapEff"], 16) == int(plain["CapPrm"], 16) == 0
        attacker.reset()
        hooked = MANIFEST + HOOK + ROOTED
        done = attacker.pushes({"Dockerfile": RISES, "compose.yaml": hooked})
        assert done.ok, done.err
        raised, rooted = rights(attacker, "web"), rights(attacker, "rooted")
        assert raised["Uid"].split()[1] == "0", "a hook becomes root in the same way"
        assert (raised["NoNewPrivs"], rooted["NoNewPrivs"]) == ("0", "1")
        for name in ("CapEff", "CapPrm", "CapBnd"):
            assert int(raised[name], 16) & ~int(rooted["CapBnd"], 16) == 0, (name, raised, rooted)
        assert raised["CapAmb"] == rooted["CapAmb"] == f"{0:016x}"
        assert raised["Seccomp"] == "2"
        config = town.inspect(town.container("attacker"))["HostConfig"]
        assert config["CapDrop"] == ["ALL"] and not config["Privileged"]  # type: ignore[index]
    finally:
        town.recover()

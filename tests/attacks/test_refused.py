"""A refused release leaves and changes nothing, whichever step refuses it."""

import pytest

from devtools.lab.ground import DOCKERFILE, Shop
from tests.attacks.town import MANIFEST, PROGRAM, Attacker, Town
from tests.conftest import spread

pytestmark = pytest.mark.lab

STORE = """\
  cache:
    image: valkey/valkey:9
    volumes: ["cache:/data"]
volumes: {cache: {}}
"""
MORE = """\
  cache:
    image: valkey/valkey:9
    environment: {CHANGED: "yes"}
    volumes: ["cache:/data"]
  more:
    image: valkey/valkey:9
    volumes: ["more:/data"]
MOREvolumes: {cache: {}, more: {}}
"""
"""A changed definition of the existing store, and a new one with its own volume."""


def manifest(service: str = "", more: str = "", health: str = "health: /") -> str:
    changed = MORE.replace("MORE", more)
    return (
        MANIFEST.replace("health: /", health).replace("    build: .\n", f"    build: .\n{service}") + changed
    )


REFUSED = {
    "manifest": {"compose.yaml": manifest("    privileged: true\n")},
    "secrets": {"compose.yaml": manifest(), ".env": "TOKEN=x\n"},
    "build": {"compose.yaml": manifest(), "Dockerfile": DOCKERFILE + "RUN exit 7\n"},
    "store": {"compose.yaml": manifest(more='    command: ["false"]\n')},
    "release": {"compose.yaml": manifest(health="release: 'false', health: /")},
    "start": {"compose.yaml": manifest('    command: ["no-such-program"]\n')},
    "ready": {"compose.yaml": manifest('    command: ["python", "-c", "raise SystemExit(3)"]\n')},
    "switch": {"compose.yaml": manifest().replace("attacker.localhost", "victim.localhost")},
}


def everything(town: Town, app: str) -> dict[str, list[str]]:
    """Everything on the server, whoever owns it, except logs, journals, and builders, which may sleep."""
    box, directory = town.box, f"/var/lib/pushrod/apps/{app}"
    config = '{{.Names}} {{.State}} {{.Image}} {{.Label "com.docker.compose.config-hash"}}'
    result = {
        "containers": box.docker("ps", "--all", f"--format={config}"),
        "networks": box.docker("network", "ls", "--format={{.Name}}"),
        "volumes": box.docker("volume", "ls", "--format={{.Name}}"),
        "images": box.docker(
            "image", "ls", "--all", "--no-trunc", "--format={{.ID}} {{.Repository}}:{{.Tag}}"
        ),
        "gates": box.exec(
            "find", "/run/pushrod", "-not", "-name", "*.*"
        ).stdout,  # names with a dot belong to no app
        "units": box.exec("find", "/etc/systemd/system", "-name", "*pushrod*").stdout,
        "packs": box.exec("find", f"{directory}/repo.git/objects/pack").stdout,
        "places": box.exec("find", directory, "-maxdepth", "1").stdout,
    }
    for place in (
        "checkouts",
        "data",
        "state/releases",
        "state/stores",
        "secrets/releases",
        "secrets/stores",
    ):
        listed = box.exec(
            "find",
            f"{directory}/{place}",
            "-maxdepth",
            "1",
            "-type",
            "f",
            "-exec",
            "sha256sum",
            "{}",
            "+",
            check=False,
        )
        result[place] = listed.stdout + box.exec("ls", f"{directory}/{place}", check=False).stdout
    return {
        kind: sorted(line for line in text.split("\n") if not line.startswith("pushrod.builder."))
        for kind, text in result.items()
    }


@pytest.mark.parametrize("part", spread(range(2), 1))
def test_a_push_refused_at_any_step_leaves_nothing(town: Town, attacker: Attacker, part: int) -> None:
    """Including the stores: they run as the live release defines them."""
    done = attacker.pushes({"compose.yaml": MANIFEST + STORE})
    assert done.ok, done.err
    before = everything(town, "attacker")
    for step, tree in list(REFUSED.items())[part::2]:
        attacker.reset()
        assert not attacker.pushes(tree).ok, step
        after = everything(town, "attacker")
        changed = {kind: (before[kind], after[kind]) for kind in before if before[kind] != after[kind]}
        assert not changed, f"refused at {step}: {changed}"
        assert attacker.get().status == 200, step
    attacker.reset()
    done = attacker.pushes({}, "as at first")
    assert done.ok, done.err


@pytest.mark.parametrize("step", ["store", "ready"])
def test_a_refused_first_push_leaves_only_the_app(town: Town, step: str) -> None:
    name = f"fresh-{step}"
    town.ground.pushrod("apps", "create", name)
    try:
        before = everything(town, name)
        fresh: Shop = town.ground.app(name, {"app.py": PROGRAM, "Dockerfile": DOCKERFILE, **REFUSED[step]})
        assert not fresh.push().ok
        after = everything(town, name)
        places = {
            f"/var/lib/pushrod/apps/{name}/{left}"
            for left in ("journal", "lock", "claims.json", "data", "told")
        }
        after["places"] = [place for place in after["places"] if place not in places]
        changed = {kind: (before[kind], after[kind]) for kind in before if before[kind] != after[kind]}
        assert not changed
    finally:
        town.ground.pushrod("apps", "destroy", name, "--yes")

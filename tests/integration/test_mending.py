"""Interrupted pushes, caused by a full disk or left by an older pushrod; and refused objects."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine
from tests.integration.disks import ZEROS, fill, on_small_disk
from tests.integration.test_recovery_steps import cut_off, output_of

pytestmark = pytest.mark.integration


def _live(shop: App) -> Path:
    return shop.state / "releases" / str(shop.live)


def test_a_full_disk_after_an_interrupted_push_is_recovered(new_machine: Callable[[], Machine]) -> None:
    """The interrupted push frees its space, so that an older release can be made live."""
    with on_small_disk(new_machine()) as machine:
        full = machine.app("full")
        full.push_change()
        cut_off(full, "start", {"zeros": ZEROS[:8_000_000]})
        free = fill(full.machine)
        before = full.live
        output_of(full.pushrod("rollback"))
        assert full.live < before
        assert full.serves(full.live)
        fill(full.machine)
        output_of(full.pushrod("down"))
        assert not full.groups()
        output_of(full.pushrod("apps", "destroy", "full", "--yes"))
        assert not full.directory.exists()
        free()


# ---- state from an older pushrod --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["push", "rollback", "restart", "down", "doctor"])
def test_an_unfinished_release_of_a_tag_is_recovered(machine: Machine, verb: str) -> None:
    """A tag pushed as the branch once went live under its own name, to which no branch can be moved: the journal
    stays open after its commit point."""
    name = f"tagged-{verb}"
    shop = machine.app(name)
    shop.push_change()
    shop.tree.git("tag", "--annotate", "v1", "--message", "one")
    tag = shop.tree.git("rev-parse", "v1")
    shop.tree.git("push", "--quiet", str(shop.repository), "v1:main")
    assert shop.branch() == shop.good, "a tag leads to its commit"
    live = shop.live
    old_commit = shop.release(live)["commit"]
    path = _live(shop) / "release.json"
    path.write_text(path.read_text().replace(old_commit, tag))
    objects = subprocess.run(
        ["git", "-C", str(shop.repository), "cat-file", "-t", tag],
        capture_output=True,
        text=True,
        check=False,
    )
    if objects.returncode:
        pack = subprocess.run(
            ["git", "-C", str(shop.tree.path), "cat-file", "tag", tag], capture_output=True, check=True
        ).stdout
        argv = ["git", "-C", str(shop.repository), "hash-object", "-t", "tag", "-w", "--stdin"]
        subprocess.run(argv, input=pack, capture_output=True, check=True)
    lines = (shop.directory / "journal").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    end = max(i for i, e in enumerate(entries) if e["event"] == "live")
    kept = [line.replace(old_commit, tag) for line in lines[: end + 1]]
    (shop.directory / "journal").write_text("".join(f"{line}\n" for line in kept))
    branch = shop.repository / "refs" / "heads" / "main"
    branch.write_text(shop.tree.git("rev-parse", "HEAD~1") + "\n")

    match verb:
        case "push":
            shop.tree.commit({"app.py": apps.changed("next")}, "next")
            assert "finishing" in output_of(shop.tree.push())
            assert shop.get().body == "next"
        case "rollback":
            output_of(shop.pushrod("rollback"))
            assert shop.serves(live - 1)
        case "restart":
            output_of(shop.pushrod("restart"))
            assert shop.release(shop.live)["commit"] == old_commit
        case "down":
            output_of(shop.pushrod("down"))
            assert not shop.groups()
        case _:
            output_of(shop.pushrod("doctor", "--repair"))
            assert shop.branch() == old_commit


# ---- what may be pushed -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    return machine.app("tags")


@pytest.mark.parametrize("depth", [1, 3])
def test_a_tag_is_deployed_as_its_commit(shop: App, depth: int) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed(f"tag {depth}")}, "tagged")
    shop.tree.git("tag", "--annotate", "t1", "--message", "1", "--force")
    for n in range(2, depth + 1):
        shop.tree.git("tag", "--annotate", f"t{n}", f"t{n - 1}", "--message", str(n), "--force")
    output_of(shop.tree.push("pushrod", f"t{depth}:main"))
    assert shop.get().body == f"tag {depth}"
    assert shop.branch() == shop.release(shop.live)["commit"] == shop.tree.head()
    assert shop.tree.git("rev-parse", "pushrod/main") == shop.tree.head(), "and the client knows where it is"
    shop.good = shop.tree.head()
    shop.push_change()
    shop.settled()


def test_a_tag_pushed_before_any_branch_is_refused_with_the_full_ref(machine: Machine) -> None:
    """Git then takes `main` for the name of a tag."""
    first = machine.app("first", push=False)
    first.tree.git("tag", "v1")
    assert "TAG:refs/heads/main" in apps.complaint(first.tree.push("pushrod", "v1:main")).to_do
    output_of(first.tree.push("pushrod", "v1:refs/heads/main"))


@pytest.mark.parametrize("what", ["HEAD^{tree}", "HEAD:app.py", "a tag of a tree"])
def test_an_object_that_is_no_commit_is_refused(shop: App, what: str) -> None:
    shop.restore()
    before, release = shop.footprint(), shop.live
    if what == "a tag of a tree":
        shop.tree.git("tag", "--annotate", "tree", "HEAD^{tree}", "--message", "no commit", "--force")
    oid = shop.tree.git("rev-parse", "tree" if what == "a tag of a tree" else what)
    shop.tree.git("update-ref", "refs/tags/odd", oid)
    pushed = shop.tree.push("pushrod", "refs/tags/odd:refs/heads/main")
    assert not pushed.ok
    assert "Traceback" not in pushed.err
    shop.untouched(before, release)
    shop.push_change()

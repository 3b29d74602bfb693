"""Every attempt is recorded, and its author cannot undo the record."""

import json
from typing import Any

import pytest

from devtools.lab.ground import ROOT
from pushrod.state import audit
from tests.attacks.town import SECRET, Attacker, Party, Town

pytestmark = pytest.mark.lab

LOG = f"{ROOT}/audit/log"


def entries(town: Town, *options: str) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(town.ground.pushrod("audit", "--json", *options).stdout)
    return result


def test_a_refused_attempt_is_recorded_with_key_and_address(
    town: Town, attacker: Attacker, victim: Party
) -> None:
    line = "run --app -- --app attacker --root /srv true"
    assert attacker.says(line).status == 12
    assert attacker.asks("secret", "list", "--app", "victim").status == 12
    mine = entries(town, "--key", "attacker", "-n", "2")
    listed = town.box.exec("pushrod", "host", "keys", "list", "--json").stdout
    fingerprint = next(k["fingerprint"] for k in json.loads(listed) if k["name"] == "attacker")
    assert [(a["result"], a["code"], a["key"]) for a in mine] == [("refused", 12, fingerprint)] * 2
    assert (mine[0]["words"].strip(), mine[1]["app"]) == (line, "victim")
    assert all(a["address"].startswith("10.212.") for a in mine)
    assert mine[1]["number"] in [a["number"] for a in json.loads(victim.asks("audit", "--json").stdout)]


def test_a_push_and_a_secret_are_recorded_without_the_value(town: Town, attacker: Attacker) -> None:
    value = "a-value-that-nobody-tells"
    assert attacker.asks("secret", "set", "NAME_OF_IT", stdin=value).status == 0
    done = attacker.pushes({"more.txt": "one"})
    assert done.ok, done.err
    secret, push = entries(town, "--key", "attacker", "-n", "2")
    assert (secret["what"], secret["result"]) == ("secret set", "done")
    assert "NAME_OF_IT" in secret["words"]
    assert (push["what"], push["app"], push["result"]) == ("push", "attacker", "done")
    assert push["detail"] == f"commit {attacker.tree.head()}; release {attacker.live}"
    assert not [a for a in entries(town, "-n", "1000") if value in str(a) or SECRET in str(a)]
    assert value not in town.box.get(LOG).decode()
    assert attacker.asks("secret", "unset", "NAME_OF_IT").status == 0


def test_a_key_reads_only_the_records_of_its_app(attacker: Attacker) -> None:
    seen = json.loads(attacker.asks("audit", "--json", "-n", "1000").stdout)
    assert {a["app"] for a in seen} == {"attacker"}
    assert attacker.asks("audit", "--app", "victim").status == 12
    assert attacker.asks("audit", "verify").status == 12


def test_a_rewritten_log_is_detected_with_the_system_journal(town: Town, attacker: Attacker) -> None:
    """As the account itself: the last line or the first ones removed, or all lines rewritten with correct
    hashes."""
    box, before = town.box, town.box.get(LOG)
    assert town.ground.pushrod("audit", "verify").stdout.count(": unchanged") == 1
    program = "import sys; sys.argv = ['pushrod', 'status']; from pushrod.state.audit import *\n"
    forged = f"{program}Audit(Root(Path('{ROOT}'))).end(1, 'done')\n"
    try:
        box.exec("sed", "-i", "$d", LOG, user="pushrod")
        cut = town.ground.pushrod("audit", "verify", check=False)
        assert (cut.status, "the system's journal has line" in cut.stderr) == (11, True)
        assert (
            box.exec("pushrod", "audit", "verify", user="pushrod").status == 0
        )  # it may not read that journal
        box.exec("sed", "-i", "1,4d", LOG, user="pushrod")
        first = town.ground.pushrod("audit", "verify", check=False)
        assert (first.status, "lines before it were removed" in first.stderr) == (11, True)
        assert "4 heads in the journal belong to missing lines" in first.stdout
        box.exec("rm", LOG, user="pushrod")
        box.exec("/opt/pushrod/bin/python", "-c", forged, user="pushrod")
        anew = town.ground.pushrod("audit", "verify", check=False)
        assert (anew.status, "heads of another log" in anew.stderr) == (11, True)
    finally:
        box.exec("sh", "-c", f"cat > {LOG}", stdin=before.decode(), user="pushrod")


def test_a_flood_of_refused_attempts_hides_nothing_and_is_bounded(town: Town) -> None:
    act = entries(town, "--verb", "push", "-n", "1")[0]["number"]
    size = len(town.box.get(LOG))
    flood = f"""
import os
from pushrod.state.apps import Root
from pushrod.state.audit import Audit, Who
log = Audit(Root(__import__("pathlib").Path("{ROOT}")))
for number in range(3 * {audit.MOST["refused"]}):
    log.note(Who("flooder", "SHA256:x"), "status", "refused", 12, words="x" * 100_000)
"""
    town.box.exec("/opt/pushrod/bin/python", "-c", flood, user="pushrod")
    assert len(town.box.get(LOG)) - size < audit.MOST["refused"] * 1000
    assert entries(town, "--verb", "push", "-n", "1")[0]["number"] == act
    assert [a["detail"] for a in entries(town, "--key", "flooder", "--verb", "refused")] == [
        "more than 100 today"
    ]

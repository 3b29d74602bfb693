"""The table of verbs: the row that holds for each, and what the gate takes from it."""

import pytest

from pushrod.provisioning import gate, verbs


def test_a_row_covers_the_verbs_below_it() -> None:
    assert verbs.find("host keys add") is verbs.VERBS["host"]
    assert verbs.find("host edge") is verbs.VERBS["host edge"]
    assert verbs.find("hook pre-receive") is verbs.VERBS["hook"]
    for nothing in ("", "apps", "apps burn", "hosts"):
        with pytest.raises(KeyError):
            verbs.find(nothing)


def test_a_key_may_not_run_a_verb_without_a_rule() -> None:
    for path, verb in verbs.VERBS.items():
        assert (path in gate.VERBS) == (verb.key is not None)
    assert not {"up", "deploy", "apps allow", "host", "hook", "gate", "prune"} & {*gate.VERBS}


def test_verbs_with_the_same_first_word_are_in_one_module() -> None:
    for path, verb in verbs.VERBS.items():
        assert verbs.MODULES[path.split()[0]] == verb.module

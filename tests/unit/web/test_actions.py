"""What the buttons lead to."""

import msgspec
import pytest

from pushrod.core.errors import UnknownNameError
from pushrod.core.values import Maintenance
from pushrod.state.apps import App
from pushrod.state.journal import Journal
from pushrod.web import facts
from pushrod.web.actions import ACTIONS, available
from tests.unit.samples import COMMIT, make_live


def page(app: App) -> facts.Page:
    return facts.page(app, lambda _: {})


@pytest.mark.parametrize(
    ("key", "form", "words"),
    [
        ("rollback", {"release": "3"}, "rollback --app shop -- 3"),
        (
            "rollback",
            {"release": "3", "across_migrations": "yes"},
            "rollback --app shop --across-migrations -- 3",
        ),
        ("restart", {}, "restart --app shop"),
        ("scale", {"service": "backend", "count": "3"}, "scale --app shop -- backend=3"),
        (
            "maintenance-on",
            {"allow": " 192.0.2.1  192.0.2.2/32 ", "retry_after": "60"},
            "maintenance on --app shop --allow 192.0.2.1 --allow 192.0.2.2/32 --retry-after 60",
        ),
        ("secret-unset", {"name": "--all"}, "secret unset --app shop -- --all"),
    ],
)
def test_answers_become_words_and_never_options(key: str, form: dict[str, str], words: str) -> None:
    asked = ACTIONS[key].call("shop", form)
    assert (" ".join(asked.words), asked.stdin) == (words, "")


def test_the_value_of_a_secret_is_read_and_is_no_word() -> None:
    asked = ACTIONS["secret-set"].call("shop", {"name": "KEY", "value": "hunter2"})
    assert asked == (("secret", "set", "--app", "shop", "--", "KEY", "-"), "hunter2")


@pytest.mark.parametrize(
    ("key", "form"),
    [("rollback", {}), ("scale", {"service": "backend", "count": " "}), ("secret-set", {"name": "KEY"})],
)
def test_a_missing_answer_is_an_error(key: str, form: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match="no answer"):
        ACTIONS[key].call("shop", form)


def test_only_what_makes_sense_now_is_offered(app: App) -> None:
    assert available(page(app)) == ["maintenance-on", "secret-set", "secret-unset"]
    make_live(app, 1)
    assert "rollback" not in available(page(app))
    make_live(app, 2)
    journal = Journal(app.journal)
    journal.append("prepare", 3, commit=COMMIT)
    journal.append("failed", 3)
    assert {"rollback", "restart", "scale", "backup", "verify", "down"} <= set(available(page(app)))
    (release, _) = ACTIONS["rollback"].fields(page(app))
    assert release.choices == (("1", "1 “change 1”"),)
    (service, _) = ACTIONS["scale"].fields(page(app))
    assert [key for key, _ in service.choices] == ["backend", "worker"]
    app.save(msgspec.structs.replace(app.settings, maintenance=Maintenance(), down=True))
    assert available(page(app)) == [
        "rollback",
        "restart",
        "maintenance-off",
        "verify",
        "secret-set",
        "secret-unset",
    ]

"""Who gets notices, and of what."""

import stat
from pathlib import Path

import pytest

from pushrod.core.errors import HostError, PushrodError, StateError, UnknownNameError
from pushrod.observe.recipients import Recipient, Recipients
from pushrod.state.apps import Root

TEAM = Recipient("team", "https://hooks.example.com/secret", "slack")
SHOP = Recipient("shop-team", "mailto:ann@example.com", apps=("shop",))


def test_they_are_added_replaced_and_removed(tmp_path: Path) -> None:
    recipients = Recipients(Root(tmp_path))
    for one in (TEAM, SHOP, TEAM):
        recipients.add(one)
    assert recipients.all() == [SHOP, TEAM]
    assert recipients.named("team") == TEAM
    assert [recipients.remove("team"), recipients.remove("team")] == [True, False]
    assert recipients.all() == [SHOP]
    assert stat.S_IMODE((tmp_path / "alarm" / "targets.json").stat().st_mode) == 0o600


def test_one_may_be_for_some_apps() -> None:
    assert [one.hears(app) for one in (TEAM, SHOP) for app in ("", "shop", "blog")] == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]


def test_the_target_of_an_older_alarm_stays(tmp_path: Path) -> None:
    recipients = Recipients(Root(tmp_path))
    (tmp_path / "alarm").mkdir()
    (tmp_path / "alarm" / "target.json").write_text('{"target": "mailto:ann@example.com"}')
    old = Recipient("alarm", "mailto:ann@example.com", deployments=False)
    assert recipients.all() == [old]
    recipients.add(TEAM)
    assert recipients.all() == [old, TEAM]


@pytest.mark.parametrize(
    ("recipient", "error"),
    [
        (Recipient("Team", TEAM.target), UnknownNameError),
        (Recipient("team", "ftp://x/"), HostError),
        (Recipient("team", SHOP.target, "slack"), HostError),
    ],
)
def test_invalid_ones_are_refused(tmp_path: Path, recipient: Recipient, error: type[PushrodError]) -> None:
    with pytest.raises(error):
        Recipients(Root(tmp_path)).add(recipient)
    assert Recipients(Root(tmp_path)).all() == []


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "alarm").mkdir()
    (tmp_path / "alarm" / "targets.json").write_text("{")
    with pytest.raises(StateError):
        Recipients(Root(tmp_path)).all()

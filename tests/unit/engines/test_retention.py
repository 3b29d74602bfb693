"""How many older releases fit, and which logs remain."""

import pytest

from pushrod.engines import retention
from pushrod.state.apps import App


@pytest.mark.parametrize(("most", "gone"), [(20, 0), (19, 1), (14, 2), (9, 3), (0, 3)])
def test_the_oldest_releases_beyond_the_share_are_in_excess(most: int, gone: int) -> None:
    """The live release counts twice: 2 * 4 + 5 + 5 + 2 = 20."""
    assert retention.excess(4, [5, 5, 2], most) == gone


def test_the_logs_of_kept_releases_and_of_the_last_five_remain(app: App) -> None:
    for number in range(1, 13):
        (app.logs / f"r{number}").mkdir(parents=True)
    retention.remove_old_logs(app, [2, 11])
    assert sorted(int(d.name[1:]) for d in app.logs.iterdir()) == [2, 6, 7, 8, 9, 10, 11, 12]

"""The unit that starts a root without Docker at boot."""

from pathlib import Path

import pytest

from pushrod.adapters.systemd import BootUnit
from pushrod.core.errors import HostError

EXPECTED = Path(__file__).with_name("boot")
ROOT = Path("/srv/pushrod")


@pytest.mark.parametrize(("user", "name"), [(0, "system.service"), (1000, "user.service")])
def test_each_is_as_expected(user: int, name: str) -> None:
    """The files beside this test are the complete text, so that every change of a unit can be reviewed."""
    assert BootUnit(ROOT, Path("/home/ann"), user).text() == (EXPECTED / name).read_text()


def test_the_timer_writes_metrics_beside_it() -> None:
    unit = BootUnit(ROOT, Path("/home/ann"), 0)
    service, timer = unit.timed_texts(Path("/opt/pushrod/bin/pushrod")).items()
    assert service[0] == unit.path.with_name(unit.name.replace(".service", "-metrics.service"))
    assert "ExecStart=/opt/pushrod/bin/pushrod --root /srv/pushrod metrics --write\n" in service[1]
    assert (timer[0], "OnUnitInactiveSec=15\n" in timer[1]) == (service[0].with_suffix(".timer"), True)
    with pytest.raises(HostError, match="may hold letters"):
        unit.timed_texts(Path("/my tools/pushrod"))


def test_the_unit_is_in_systemds_directory_for_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    home = Path("/home/ann")
    own, of_system = BootUnit(ROOT, home, 1000), BootUnit(ROOT, home, 0)
    assert own.path == home / ".config/systemd/user" / own.name
    assert of_system.path == Path("/etc/systemd/system") / own.name
    monkeypatch.setenv("XDG_CONFIG_HOME", "/elsewhere")
    assert own.path == Path("/elsewhere/systemd/user") / own.name


def test_each_root_has_a_unit_of_its_own() -> None:
    assert BootUnit(ROOT, Path("/root"), 0).name != BootUnit(Path("/srv/other"), Path("/root"), 0).name


@pytest.mark.parametrize("path", ["/srv/my apps", "/srv/50%", "/srv/a\nb"])
def test_a_path_that_would_need_quoting_is_refused(path: str) -> None:
    with pytest.raises(HostError, match="may hold letters"):
        BootUnit(Path(path), Path("/root"), 0).text()


def test_a_machine_without_systemd_is_refused_and_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushrod.adapters.systemd.boot_unit._RUNS", tmp_path / "nothing")
    unit = BootUnit(tmp_path, tmp_path, 1000)
    with pytest.raises(HostError, match="systemd does not run"):
        unit.install()
    assert not unit.installed

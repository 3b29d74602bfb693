"""The complete units of a host, as they are rendered."""

import re
from pathlib import Path

import msgspec
import pytest

from pushrod.adapters import systemd
from pushrod.adapters.systemd import Layout
from pushrod.core.errors import HostError
from tests.unit.samples import LIMITS

LAYOUT = Layout(
    Path("/var/lib/pushrod"),
    Path("/opt/pushrod/bin/pushrod"),
    "pushrod",
    (
        "/usr/bin/python3",
        "-I",
        "-S",
        "/var/lib/pushrod/edge/nginx_start.py",
        "/s",
        "/var/lib/pushrod/programs/nginx",
    ),
    ("/usr/bin/python3", "-I", "-S", "/var/lib/pushrod/edge/nginx_rotation.py", "/var/lib/pushrod/edge"),
    "10.213.0.0/16",
    ("10.213.0.0/16", "10.214.0.0/16"),
)
EXPECTED = Path(__file__).with_name("units")
SLICES = Path(__file__).with_name("slices")


def test_every_unit_is_as_expected() -> None:
    """The files beside this test are the complete text, so that every change of a unit can be reviewed."""
    rendered = systemd.render(LAYOUT)
    assert rendered == {p.name: p.read_text() for p in EXPECTED.iterdir()}


def test_every_slice_and_drop_in_is_as_expected() -> None:
    """The files in `slices` are the complete text; each is named by its path below systemd's directory."""
    more = msgspec.structs.replace(LIMITS, app_memory=LIMITS.app_memory * 2, store_tasks=64)
    rendered = systemd.slices(LIMITS, {"my-shop": more})
    rendered |= {"tmpfiles.conf": systemd.tmpfiles(LAYOUT)}
    assert rendered == {str(p.relative_to(SLICES)): p.read_text() for p in SLICES.rglob("*.*") if p.is_file()}


def test_a_mount_is_named_by_its_path() -> None:
    assert systemd.mount_unit(Path("/srv/my-apps_2/x.y")) == r"srv-my\x2dapps_2-x.y.mount"


def test_runtime_directories_belong_to_the_account() -> None:
    assert systemd.tmpfiles(LAYOUT).splitlines()[-1] == "d /run/pushrod 0700 pushrod pushrod"


def test_nothing_that_serves_requests_depends_on_the_package() -> None:
    """Units may call pushrod only where its absence does no harm."""
    for name, text in systemd.render(LAYOUT).items():
        for line in text.splitlines():
            if str(LAYOUT.pushrod) in line and line.startswith("Exec"):
                skipped = f"ConditionFileIsExecutable={LAYOUT.pushrod}" in text
                assert line.startswith("ExecStartPre=-") or skipped, (name, line)


def test_a_restart_of_the_docker_engine_does_not_stop_an_app() -> None:
    text = systemd.render(LAYOUT)["pushrod-app@.service"]
    assert "Wants=docker.service" in text
    assert not re.search(r"^(Requires|BindsTo|Requisite|PartOf)=.*docker", text, re.MULTILINE)


@pytest.mark.parametrize("path", ["/srv/my apps", "/srv/50%", "/srv/a\nb", "relative"])
def test_a_path_that_needs_quoting_is_refused(path: str) -> None:
    with pytest.raises(HostError, match="a path in a systemd unit"):
        systemd.render(LAYOUT._replace(root=Path(path)))

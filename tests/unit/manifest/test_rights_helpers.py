"""Which services are not run because they only change rights in volumes."""

from typing import Any

import pytest

from pushrod import manifest
from pushrod.core.errors import ManifestError

WEB = {
    "build": {"context": ".", "dockerfile": "Dockerfile"},
    "ports": [{"target": 8000, "published": "8000", "protocol": "tcp"}],
}
DATA = {"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}


def read(helper: dict[str, Any], engine: Any = "embedded") -> Any:
    web = {**WEB, **DATA, "depends_on": {"helper": {"condition": "service_completed_successfully"}}}
    return manifest.read({"services": {"helper": helper, "web": web}}, engine=engine)


@pytest.mark.parametrize(
    "command",
    [
        ["chown", "-R", "1000:1000", "/data"],
        ["/bin/chmod", "-R", "a+rwX", "/data"],
        ["sh", "-c", "chown -R 1000 /data && chmod 755 /data; echo done; exit 0"],
    ],
)
def test_a_service_that_only_changes_rights_is_not_run_without_containers(command: list[str]) -> None:
    result = read({"image": "busybox:1.36", "command": command, **DATA})
    assert [s.name for s in result.services] == ["web"]
    assert result.entry.depends_on == ()
    helps, _ = result.notes
    assert helps == "helper: not run: the account that runs all programs here owns their volumes"
    assert len(read({"image": "busybox:1.36", "command": command, **DATA}, "docker").services) == 2


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "chown -R 1000 /data && ./load-data"],
        ["sh", "-c", "chown -R $$(id -u) /data"],
        ["sh", "-c", "chown 1 /data | tee /data/log"],
        ["sh", "-c", "echo done"],
    ],
)
def test_one_that_does_more_stays(command: list[str]) -> None:
    with pytest.raises(ManifestError, match="helper must end before other services start"):
        read({"image": "busybox:1.36", "command": command})


def test_an_image_of_a_program_stays() -> None:
    with pytest.raises(ManifestError, match="helper"):
        read({"image": "acme/thing", "command": ["chown", "-R", "1", "/data"]})

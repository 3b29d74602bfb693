"""The list of targets follows the live release."""

import json
import stat

import msgspec

from pushrod.core.values import Instance
from pushrod.releases import scrape_targets
from pushrod.state.apps import App
from tests.unit import samples

WEB = samples.service("web", port=8000, metrics=(8000, "/metrics"))
MAIL = samples.service("mail", role="worker", metrics=(9100, "/m"))
OTHER = samples.service("other")


def listed(app: App) -> list[tuple[str, str, str, str]]:
    groups = json.loads(scrape_targets.path(app).read_text())
    return [
        (g["targets"][0], g["labels"]["__metrics_path__"], g["labels"]["service"], g["labels"]["release"])
        for g in groups
    ]


def test_each_instance_of_each_service_with_metrics_a_worker_too(app: App) -> None:
    instances = (
        Instance("web-1", "web", 8000, "127.64.0.1"),
        Instance("web-2", "web", 20007, "127.0.0.1"),  # where the service's own port was taken
        Instance("mail-1", "mail", 0, "127.64.0.3"),
        Instance("other-1", "other", 8000, "127.64.0.4"),
    )
    release = msgspec.structs.replace(samples.release(3), services=(WEB, MAIL, OTHER), instances=instances)
    scrape_targets.write(app, release)
    assert listed(app) == [
        ("127.64.0.1:8000", "/metrics", "web", "3"),
        ("127.0.0.1:20007", "/metrics", "web", "3"),
        ("127.64.0.3:9100", "/m", "mail", "3"),
    ]
    assert stat.S_IMODE(scrape_targets.path(app).stat().st_mode) == 0o644
    scrape_targets.write(app, msgspec.structs.replace(release, services=(OTHER,)))
    assert not scrape_targets.path(app).exists()
    scrape_targets.write(app, release)
    scrape_targets.write(app, None)
    scrape_targets.write(app, None)
    assert not scrape_targets.path(app).exists()

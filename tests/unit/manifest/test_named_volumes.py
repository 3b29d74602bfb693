"""The named volumes of a service."""

from pushrod.manifest import named_volumes
from pushrod.manifest.document import Key


def test_named_volumes_and_those_written_to() -> None:
    mounts = [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "volume", "source": "certs", "target": "/certs", "read_only": True},
        {"type": "volume", "target": "/anonymous"},
        {"type": "bind", "source": "conf", "target": "/conf"},
    ]
    service = Key("services.db", {"volumes": mounts})
    assert named_volumes.of(service) == {"data", "certs"}
    assert named_volumes.of(service, written=True) == {"data"}
    assert named_volumes.of(Key("services.web", {})) == set()
    assert named_volumes.has_others(service)
    assert not named_volumes.has_others(Key("services.db", {"volumes": mounts[:2]}))

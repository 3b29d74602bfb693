"""The volumes of a service."""

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


def test_anonymous_volumes_that_may_hold_data() -> None:
    paths = ("/code/uploads/", "/code/node_modules", "/app/vendor", "/var/cache/x", "/tmp", "/running")
    mounts = [{"type": "volume", "target": path} for path in paths]
    mounts.append({"type": "volume", "source": "data", "target": "/data"})
    assert named_volumes.anonymous(Key("services.web", {"volumes": mounts})) == ["/code/uploads", "/running"]

"""The nouns: frozen, strict, and distinguishable by their names."""

import msgspec
import pytest

from pushrod.core.processes import Process
from pushrod.core.values import Instance, Manifest, Release, Service
from tests.unit.samples import release, service, store

MANIFEST = Manifest(
    services=(service(), service("worker", role="worker"), store(), service("proxy", role="edge"))
)


def test_services_are_distinguished_by_role() -> None:
    assert [s.name for s in MANIFEST.stores] == ["postgres"]
    assert [s.name for s in MANIFEST.stateless] == ["backend", "worker"]
    assert MANIFEST.entry.name == "backend"


def test_a_service_is_found_by_name() -> None:
    assert MANIFEST.service("worker").role == "worker"
    assert release().service("worker").role == "worker"
    with pytest.raises(KeyError):
        MANIFEST.service("mailer")
    with pytest.raises(KeyError):
        release().service("postgres")


def test_only_the_entry_receives_traffic_from_the_edge() -> None:
    assert [i.port for i in release().instances_of("backend")] == [20001, 20002]


def test_a_release_round_trips_through_json() -> None:
    sealed = release(notes=("a note",))
    assert msgspec.json.decode(msgspec.json.encode(sealed), type=Release) == sealed


def test_a_release_with_unknown_fields_is_refused() -> None:
    raw = msgspec.json.encode(msgspec.to_builtins(release()) | {"mirrors": []})
    with pytest.raises(msgspec.ValidationError, match="mirrors"):
        msgspec.json.decode(raw, type=Release)


@pytest.mark.parametrize("value", [Instance("a-1", "a"), service(), release()])
def test_a_value_never_changes(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        value.name = "other"  # type: ignore[attr-defined]


def test_defaults_are_not_shared_between_values() -> None:
    one, other = Service("a", "worker"), Service("b", "worker")
    one.environment["X"] = "1"
    assert other.environment == {}


def test_every_field_of_a_process_is_required() -> None:
    with pytest.raises(msgspec.ValidationError, match="argv"):
        msgspec.convert({"group": "shop-r1", "name": "backend-1"}, Process)

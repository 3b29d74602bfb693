"""Complete documents: each is accepted or refused, and each key that needs a rule has one."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pushrod.core.errors import ManifestError
from pushrod.manifest import keys, policy
from pushrod.manifest.policy import Terms
from tests.unit.manifest.policy.asking import LIMITS, PRIVATE, web
from tests.unit.manifest.test_services import _DOCUMENTS


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_DOCUMENTS)
def test_any_document_is_taken_or_refused(document: Any) -> None:
    for engine in ("docker", "embedded"):
        try:
            policy.apply(document, Terms(engine, LIMITS, (), lambda _: False, PRIVATE))
        except ManifestError as error:
            assert error.what


@pytest.mark.parametrize(
    "document",
    [
        web(annotationz={}),
        web(deploy={"resources": {"limits": {"gpu": 1}}}),
        web(build={"context": ".", "sandbox": "off"}),
        web(healthcheck={"every": "1s"}),
        web(volumes=[{"type": "volume", "target": "/x", "idmap": "0"}]),
        {"plugins": {}},
        {"volumes": {"data": {"size": 1}}},
        {"configs": {"data": {"url": "x"}}},
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_its_name(document: dict[str, Any]) -> None:
    for terms in (Terms("docker", LIMITS), Terms("embedded", LIMITS)):
        with pytest.raises(ManifestError) as error:
            policy.apply(document, terms)
        assert error.value.what == f"unknown key `{error.value.where.rpartition('.')[2]}`"
        assert error.value.hint


def test_the_frequency_of_an_images_own_health_check_is_bounded() -> None:
    assert policy.paced({"interval": 0.001, "timeout": 3, "start_interval": 0, "retries": 3}, LIMITS) == {
        "interval": "1000ms"
    }
    assert policy.paced({}, LIMITS) == {}
    hasty = policy.paced({"start_interval": 0.5}, LIMITS)
    assert hasty == {"start_interval": "1000ms", "start_period": "0s"}


def test_the_embedded_engine_keeps_keys_that_it_does_not_apply() -> None:
    document = web(privileged=True, mem_limit="900g", volumes=["/srv:/x"], healthcheck={"interval": "1ms"})
    result, _ = policy.apply(document, Terms("embedded", LIMITS))
    assert result == web(
        privileged=True, mem_limit="900g", volumes=["/srv:/x"], healthcheck={"interval": "1000ms"}
    )


def test_every_bounded_or_permitted_key_has_a_rule() -> None:
    of_the_whole = ("services.*.volumes.", "volumes.*.")
    for path, row in keys.TABLE.items():
        if row.docker in ("bounded", "word") and not path.startswith(of_the_whole):
            assert path in policy.RULES, path
        if row.embedded == "bounded":
            assert path in policy.RULES, path
    assert {p for p in policy.RULES if p not in keys.TABLE} == {"services.*.volumes", "volumes.*"}

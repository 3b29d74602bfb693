"""Which variables a manifest itself writes into the commands of its services."""

import pytest
import yaml

from pushrod.adapters import written


def of(service: str) -> set[str]:
    return written.in_argvs(yaml.safe_load(f"services:\n  web:\n    image: x\n{service}\n"))["web"]


@pytest.mark.parametrize(
    "service",
    [
        "    command: serve --key $KEY",
        "    command: 'serve --key ${KEY}'",
        "    command: ['serve', '--key=${KEY:-none}']",
        "    entrypoint: ['sh', '-c', 'serve ${OTHER:-${KEY}}']",
        "    x-pushrod: {release: 'migrate ${KEY:?}'}",
        "    x-pushrod: {health: {command: 'ask $KEY'}}",
        "    healthcheck: {test: ['CMD', 'ask', '$$$KEY']}",
        "    post_start: [{command: ['true']}, {command: ['ask', '$KEY']}]",
        "    pre_stop: [{command: 'ask $KEY'}]",
    ],
)
def test_a_reference_is_found(service: str) -> None:
    assert "KEY" in of(service)


@pytest.mark.parametrize(
    "service",
    [
        "    command: serve KEY",
        "    command: sh -c 'serve \"$$KEY\"'",
        "    environment: {OTHER: $KEY}",
        "    post_start: [{command: ['ask'], environment: {OTHER: $KEY}}]",
        "    ports: ['${KEY:-8000}:8000']",
        "    command: serve ${KEYS}",
    ],
)
def test_what_is_no_reference_in_a_command_is_none(service: str) -> None:
    assert "KEY" not in of(service)


def test_a_document_without_services_has_none() -> None:
    assert written.in_argvs({}) == written.in_argvs({"services": None}) == {}

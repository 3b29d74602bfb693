"""Which variables a manifest itself writes into the commands of its services."""

import pytest
import yaml

from pushrod.adapters import command_variables


def of(service: str) -> set[str]:
    return command_variables.in_argvs(yaml.safe_load(f"services:\n  web:\n    image: x\n{service}\n"))["web"]


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
def test_a_reference_in_a_command_is_found(service: str) -> None:
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
def test_other_text_in_a_command_is_not_a_reference(service: str) -> None:
    assert "KEY" not in of(service)


def test_a_document_without_services_has_no_references() -> None:
    assert command_variables.in_argvs({}) == command_variables.in_argvs({"services": None}) == {}
    assert (
        command_variables.argvs_with({}, "x")
        == command_variables.argvs_with({"services": None}, "x")
        == set()
    )


def test_a_word_is_found_in_commands_only() -> None:
    services = {
        "web": {"command": ["serve", "--key=mark"]},
        "job": {"environment": {"KEY": "mark"}, "command": "work"},
        "db": {"healthcheck": {"test": ["CMD", "ask", "mark"]}},
    }
    assert command_variables.argvs_with({"services": services}, "mark") == {"web", "db"}

"""Which variables a compose file itself writes into the commands of its services."""

from pathlib import Path

import pytest

from pushrod.adapters import written


def of(tmp_path: Path, service: str, top: str = "") -> set[str] | None:
    path = tmp_path / "compose.yaml"
    path.write_text(f"{top}\nservices:\n  web:\n    image: x\n{service}\n")
    return written.in_argvs([path]).get("web")


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
        "    command: !override ['serve', '$KEY']",
        "    post_start: [{command: ['true']}, {command: ['ask', '$KEY']}]",
        "    pre_stop: [{command: 'ask $KEY'}]",
    ],
)
def test_a_reference_is_found(tmp_path: Path, service: str) -> None:
    assert "KEY" in (of(tmp_path, service) or set())


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
def test_what_is_no_reference_in_a_command_is_none(tmp_path: Path, service: str) -> None:
    assert "KEY" not in (of(tmp_path, service) or set())


def test_a_command_that_is_merged_in_counts(tmp_path: Path) -> None:
    assert of(tmp_path, "    <<: *base", "x-base: &base {command: 'serve $KEY'}") == {"KEY"}
    assert of(tmp_path, "    <<: [*a, *b]", "x-a: &a {tty: true}\nx-b: &b {command: '$KEY'}") == {"KEY"}


def test_what_another_file_writes_is_not_known(tmp_path: Path) -> None:
    assert of(tmp_path, "    extends: {file: other.yaml, service: web}") is None


def test_anchors_within_one_another_take_no_time(tmp_path: Path) -> None:
    lines = ["x-a0: &a0 ['$KEY']"] + [
        f"x-a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
    ]
    assert of(tmp_path, "    command: *a11", "\n".join(lines)) == {"KEY"}


def test_a_block_that_begins_with_a_tab_hides_no_reference(tmp_path: Path) -> None:
    assert of(tmp_path, "    labels: {}\n    command: serve $KEY", "x-a: |\n  \tx\n") == {"KEY"}

"""The totals of an app's custom nginx lines are limited."""

from pathlib import Path

import pytest

from pushrod.core.errors import ManifestError
from pushrod.ingress import snippets
from tests.unit.ingress.snippets.asking import check, read, refused, write

TAKING = "proxy_buffer_size 128k; proxy_buffers 4 256k; proxy_busy_buffers_size 256k;"


def test_the_memory_of_directives_is_summed() -> None:
    """Of one that is there several times the most counts: no request is in two places."""
    check(TAKING)
    assert "more than 2097152 bytes of memory" in refused(f"{TAKING} client_body_buffer_size 1000k;").what
    assert snippets.memory({"a.conf": TAKING, "b.conf": "location /x { proxy_buffers 8 16k; }"}) == 1152 << 10
    assert snippets.memory({"a.conf": "gzip on;"}) == 0


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("break;\n", "400 lines"),
        ("add_header A $host$host$host$host$host$host$host$host;\n", "200 variables"),
        ("set $own_a 1;\n", "60 lines that set or rewrite"),
        ("types { " + "a/b c; " * 20 + "}\n", "400 lines"),
    ],
)
def test_the_total_of_all_snippets_is_bounded(line: str, what: str) -> None:
    assert what in refused(line * 401).what


def test_work_per_response_byte_is_summed_over_files(tmp_path: Path) -> None:
    write(tmp_path, "a/1.conf", text="sub_filter_once off;")
    write(tmp_path, "a/2.conf", text="sub_filter a aaaa;")
    with pytest.raises(ManifestError, match="all apps wait"):
        read(tmp_path, "a/*.conf")


def test_nesting_of_blocks_is_bounded() -> None:
    assert "nested blocks" in refused("location / { " * 6 + "}" * 6).what


def test_the_length_of_a_file_is_bounded() -> None:
    assert "longer than" in refused("break;\n" * 20000).what


def test_the_limits_apply_to_all_files_together(tmp_path: Path) -> None:
    write(tmp_path, *(f"a/{n}.conf" for n in range(3)), text="break;\n" * 150)
    with pytest.raises(ManifestError, match="more than 400 lines") as caught:
        read(tmp_path, "a/*.conf")
    assert caught.value.where == "a/2.conf:101"
    write(tmp_path, *(f"b/{n}.conf" for n in range(21)))
    with pytest.raises(ManifestError, match="21 files"):
        read(tmp_path, "b/*.conf")
    write(tmp_path, "c/0.conf", text="#" * 300_000)
    with pytest.raises(ManifestError, match="longer than"):
        read(tmp_path, "c/*.conf")

"""What pushrod derives from nginx's description of itself."""

import pytest

from pushrod.adapters.nginx import build

STATIC = "nginx version: nginx/1.31.3\nbuilt by gcc 14.2.0 (Alpine 14.2.0)\nconfigure arguments: "
DEBIAN = "nginx version: nginx/1.26.3\nbuilt with OpenSSL 3.5.1\nconfigure arguments: --with-debug"


@pytest.mark.parametrize(
    ("version", "keepalive_min", "http2"),
    [("1.31.3", True, True), ("1.27.3", False, True), ("1.25.1", False, True), ("1.25.0", False, False)],
)
def test_the_version_determines_the_supported_features(
    version: str, keepalive_min: bool, http2: bool
) -> None:
    known = build.known(f"nginx version: nginx/{version}")
    assert (known.keepalive_min, known.http2, known.gives_back) == (keepalive_min, http2, False)


@pytest.mark.parametrize(
    ("output", "gives_back"),
    [(f"{STATIC}--with-debug", True), (STATIC, False), (DEBIAN, False)],
)
def test_memory_is_held_only_for_a_build_that_returns_it(output: str, gives_back: bool) -> None:
    assert build.known(output).gives_back is gives_back


def test_output_of_another_program_has_no_version() -> None:
    assert build.version("hello") == ()

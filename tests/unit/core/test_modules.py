"""Modules that are loaded when they are first used, and what a push does without. Each in a separate interpreter."""

import subprocess
import sys

import pytest

USED = """
import sys
from pushrod.core.modules import later
colors = later("colorsys")
print("colorsys" in sys.modules)
print(colors.rgb_to_hls(1, 1, 1), "colorsys" in sys.modules, colors.rgb_to_hls is sys.modules["colorsys"].rgb_to_hls)
"""

UNUSED = (
    "certbot",
    "docker",
    "https",
    "lfs_server",
    "postgres.dumps",
    "postgres.recovery",
    "postgres.wal",
    "redis_replacing",
)
"""Adapters that a push to the embedded engine does not need."""

LOADED = (
    "cli.hook",
    "engines.embedded.engine",
    "observe.announcements",
    "releases.pipeline",
    "stores.postgres_driver",
    "stores.redis_driver",
)


def printed(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_a_module_is_loaded_at_its_first_use() -> None:
    assert printed(USED) == ["False", "(0.0, 1.0, 0.0) True True"]


@pytest.mark.slow
def test_a_push_loads_no_adapters_that_few_pushes_need() -> None:
    code = "import sys\n" + "".join(f"import pushrod.{name}\n" for name in LOADED)
    code += f"print(*sorted({{f'pushrod.adapters.{{n}}' for n in {UNUSED!r}}} & set(sys.modules)), sep='\\n')"
    assert printed(code) in ([], [""])

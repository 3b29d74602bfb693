"""The JSON schema of Compose files that is embedded in the loader."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pushrod.adapters import compose_loader


@cache
def compose_schema() -> dict[str, Any]:
    """The schema in the loader's program: compose-go embeds its text unchanged."""
    program = Path(compose_loader.argv_of()[0]).read_bytes()
    for result in re.finditer(rb'\{\s*"\$schema"', program):
        text = program[result.start() : result.start() + 400_000].decode("utf-8", "replace")
        try:
            whole, _ = json.JSONDecoder().raw_decode(text)
        except ValueError:
            continue
        if whole.get("$id") == "compose_spec.json" or whole.get("id") == "compose_spec.json":
            return dict(whole)
    raise AssertionError("the loader has no schema in it")

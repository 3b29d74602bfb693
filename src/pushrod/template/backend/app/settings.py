"""What the environment says, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Settings:
    """Everything configurable. URLs carry passwords, so they stay out of the representation."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    cache_seconds: int
    name: str
    release: str | None
    commit: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raise SystemExit, naming the variable, when one that the app cannot do without is not set."""
        return cls(
            database_url=_required(environment, "DATABASE_URL"),
            redis_url=_required(environment, "REDIS_URL"),
            cache_seconds=int(environment.get("CACHE_SECONDS") or 60),
            name=environment.get("PUSHROD_APP") or "{{name}}",
            release=environment.get("PUSHROD_RELEASE"),
            commit=environment.get("PUSHROD_COMMIT"),
        )


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise SystemExit(f"{name} is not set")
    return value

"""The settings from the environment, read once at start."""

from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings, by their variables' names. URLs contain passwords, so they are excluded from the repr."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    database_url: str = Field(repr=False)
    redis_url: str = Field(repr=False)
    """The durable Redis."""
    cache_url: str = Field(repr=False)
    """The Redis that may lose its data at any time."""

    cache_seconds: int = Field(default=60, ge=1)
    """How long a cached value is fresh."""
    stale_seconds: int = Field(default=600, ge=0)
    """How much longer it may be served while PostgreSQL is slow or unavailable."""
    session_seconds: int = Field(default=14 * 24 * 3600, ge=1)
    """How long a user stays logged in without a request."""
    writes_per_minute: int = Field(default=120, ge=1)
    """How many changes one user may make per minute."""
    logins_per_minute: int = Field(default=10, ge=1)
    """How often a login as one user may be attempted."""
    step_seconds: float = Field(default=2.0, ge=0)
    """How long an order stays in each status: short, so that a person sees it move."""
    max_tries: int = Field(default=8, ge=1)
    """How often a job is attempted before it is a dead letter."""
    retry_seconds: float = Field(default=1.0, gt=0)
    """The pause after the first failure; it doubles with each further one."""
    lease_seconds: float = Field(default=60.0, gt=0)
    """After how long an unfinished job, or an event, is sent again."""
    nightly: str = "0 3 * * *"
    """When the previous day is closed: cron, in UTC."""
    log_level: str = "INFO"

    name: str = Field(default="{{name}}", validation_alias="PUSHROD_APP")
    release: str | None = Field(default=None, validation_alias="PUSHROD_RELEASE")
    commit: str | None = Field(default=None, validation_alias="PUSHROD_COMMIT")

    @classmethod
    def from_environment(cls) -> Self:
        """Raise SystemExit, naming each variable that is missing or invalid, without their values."""
        try:
            return cls()
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise SystemExit("settings: " + "; ".join(wrong)) from None

"""`x-pushrod.settings` of a PostgreSQL store, and `x-pushrod.profile` of a Redis. Pure."""

from collections.abc import Iterable
from typing import Any, Literal

from pushrod.adapters.postgres import settings
from pushrod.core.errors import ManifestError
from pushrod.manifest.document import Key
from pushrod.manifest.drafts import Draft
from pushrod.stores import registry

_HINTS = {
    "profile": "remove the key",
    "settings": "give other programs their settings by their command or environment",
}


def read(key: Key) -> dict[str, str]:
    """The settings, by name. Raises ManifestError for one that a manifest may not set, or a malformed value."""
    result = {}
    for name, item in key.mapping().items():
        value = item.value
        text = ("on" if value else "off") if isinstance(value, bool) else item.text()
        if wrong := settings.problem(name, text):
            if name not in settings.OVERRIDABLE:
                raise ManifestError(
                    f"`{name}` is not a setting that a manifest may override",
                    where=key.path,
                    hint=f"those that it may: {', '.join(sorted(settings.OVERRIDABLE))}",
                )
            item.wrong(wrong)
        result[name] = text
    return result


def profile(key: Key) -> Literal["", "cache", "durable"]:
    """Whether a Redis keeps its data; empty if absent."""
    chosen = key.choice("cache", "durable")
    return "cache" if chosen == "cache" else "durable" if chosen else ""


def of(own: Key) -> dict[str, Any]:
    """Both, as fields of a service, from its own `x-pushrod`."""
    return {"settings": read(own.get("settings")), "profile": profile(own.get("profile"))}


def check(drafts: Iterable[Draft]) -> None:
    """Raise ManifestError for one of these keys of a service whose kind of store does not have it."""
    for draft in drafts:
        for name, hint in _HINTS.items():
            if getattr(draft.service, name) and name not in registry.of(draft.service.store).keys:
                kinds = " or ".join(kind.title for kind in registry.KINDS if name in kind.keys)
                raise ManifestError(
                    f"{draft.name} is not a {kinds} store, and only such a store has `{name}`",
                    where=f"{draft.key.path}.x-pushrod.{name}",
                    hint=hint,
                )

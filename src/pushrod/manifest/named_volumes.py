"""The named volumes that a service mounts. Pure."""

from pushrod.manifest.document import Key


def of(service: Key, *, written: bool = False) -> set[str]:
    """Their names; with `written`, only those of volumes that it can write to."""
    mounts = [m for m in service.get("volumes").sequence() if isinstance(m.value, dict)]
    named = [m for m in mounts if m.get("type").text() == "volume" and m.get("source").text()]
    return {m.get("source").text() for m in named if not (written and m.get("read_only").yes())}


def has_others(service: Key) -> bool:
    """Whether it mounts an anonymous volume, or one whose name is not known."""
    mounts = service.get("volumes").sequence()
    return any(
        not isinstance(m.value, dict) or (m.get("type").text() == "volume" and not m.get("source").text())
        for m in mounts
    )

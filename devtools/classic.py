"""The tree of a classic stack, not written for pushrod: nginx, a small Spring Boot backend, PostgreSQL, Redis."""

from pathlib import Path

_PLACE = Path(__file__).parent / "classic"
_VERSION = 'VERSION = "{}"'


def files(version: str = "one") -> dict[str, str]:
    """Its files by their paths; the backend answers with `version`."""
    paths = sorted(path for path in _PLACE.rglob("*") if path.is_file())
    texts = {str(path.relative_to(_PLACE)): path.read_text() for path in paths}
    return {
        name: text.replace(_VERSION.format("one"), _VERSION.format(version)) for name, text in texts.items()
    }

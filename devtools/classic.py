"""The tree of a classic stack, not written for pushrod: nginx, a small Spring Boot backend, PostgreSQL, Redis."""

from collections.abc import Mapping
from pathlib import Path

from devtools import java

_PLACE = Path(__file__).parent / "classic"
_VERSION = "version={}\n"
# As teams have it whose CI builds the jar.
_DOCKERFILE = """\
FROM eclipse-temurin:21-jre
WORKDIR /srv
COPY app.jar ./
USER nobody
EXPOSE 8080
ENV VERSION={}
CMD ["java", "-XX:MaxRAMPercentage=60", "-XX:TieredStopAtLevel=1", "-jar", "app.jar"]
"""


def files(version: str = "one") -> dict[str, str]:
    """Its files by their paths; the backend answers with `version`."""
    paths = sorted(path for path in _PLACE.rglob("*") if path.is_file())
    texts = {str(path.relative_to(_PLACE)): path.read_text() for path in paths}
    return {
        name: text.replace(_VERSION.format("one"), _VERSION.format(version)) for name, text in texts.items()
    }


def jar(directory: Path) -> bytes:
    """Its backend, built on this machine."""
    for name, text in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    java.maven(directory, "package")
    return (directory / "backend" / "target" / "app.jar").read_bytes()


def files_with(jar: bytes, version: str = "one") -> Mapping[str, str | bytes]:
    """Its files with the backend built: a jar in the commit, for an image that has no build tool."""
    kept = {name: text for name, text in files().items() if not name.startswith("backend/")}
    return {**kept, "backend/app.jar": jar, "backend/Dockerfile": _DOCKERFILE.format(version)}

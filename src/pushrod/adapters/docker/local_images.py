"""Images: find, fetch, load, name and remove them."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

from pushrod.adapters.docker.commands import APP, QUICK, docker, environment, failed, known, last_words
from pushrod.core.errors import BuildError
from pushrod.system import processes

BUILD = 3600.0  # seconds for a build or a pull

OnLine = Callable[[str], None]

_images: dict[str, dict[str, Any] | None] = {}
_tags: dict[str, list[str]] = {}
"""Results of `image`, `images` and `tags`, cached while this command runs, because they are needed for each image of
an app many times. Whatever adds or removes a name drops them.
"""


def _drop_cached(*names: str) -> None:
    """Drop the cached results for these names, or all."""
    _tags.clear()
    for name in names or tuple(_images):
        _images.pop(name, None)


def image(reference: str) -> dict[str, Any] | None:
    """The engine's description of an image; None if the engine does not have it."""
    if reference not in _images:
        described = _inspected([reference])
        _images[reference] = described[0] if described else None
    return _images[reference]


def made_by(reference: str) -> list[str]:
    """The command that created each layer of an image, the newest first; a copy of files does not show which."""
    return docker("history", "--no-trunc", "--format={{json .CreatedBy}}", reference).splitlines()


def images(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    """An engine's descriptions of the given images that it has; those of the host's engine are cached for
    `image`.
    """
    if at is not None:
        return _inspected(references, at)
    unknown = [reference for reference in dict.fromkeys(references) if reference not in _images]
    asked = _inspected(unknown)
    by_name = {name: its for its in asked for name in its.get("RepoTags") or () if name in unknown}
    # The engine describes each image once, however many names were asked for. If every description has one of these
    # names, the other names do not exist.
    _images.update(
        {name: by_name.get(name) for name in unknown if name in by_name or len(by_name) == len(asked)}
    )
    known = [its for reference in dict.fromkeys(references) if (its := _images.get(reference)) is not None]
    return known + [its for its in asked if its not in known]


def _inspected(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    if not references:
        return []
    argv = ["docker", "image", "inspect", *references]
    done = processes.run(argv, env=environment(at), timeout=QUICK)
    if done.status != 0 and not re.search("no such image", done.stderr, re.IGNORECASE):
        raise failed(done.stderr, "docker image inspect")
    described: list[dict[str, Any]] = msgspec.json.decode(done.stdout or "[]")
    return described


def copy(reference: str, *, source: Path | None, target: Path | None) -> None:
    """Copy an image from one engine to another; None is the host's."""
    _drop_cached()
    saving = processes.output_of(["docker", "save", reference], env=environment(source), timeout=BUILD)
    with saving as archive:
        done = processes.run(["docker", "load"], env=environment(target), stdin=archive, timeout=BUILD)
    if done.status != 0:
        raise failed(done.stderr, f"docker load {reference}")


def pull(reference: str, on_line: OnLine, *, at: Path | None = None, hint: str = "") -> None:
    """Pull an image into an engine. Raises BuildError, whose hint ends with `hint`, if that fails."""
    _drop_cached()
    done = processes.run(["docker", "pull", reference], env=environment(at), timeout=BUILD, on_line=on_line)
    if done.status != 0:
        raise known(done.stdout, f"image {reference}") or BuildError(
            f"the image cannot be pulled: {last_words(done.stdout)}",
            where=reference,
            hint=f"check its name; without a registry: docker save IMAGE | ssh pushrod@HOST image load -{hint}",
        )


def load(archive: IO[bytes], on_line: OnLine) -> list[str]:
    """Load the images of an archive that `docker save` wrote; returns their names. Raises BuildError if it is
    not one.
    """
    done = processes.run(["docker", "load"], env=environment(), stdin=archive, timeout=BUILD, on_line=on_line)
    names = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("Loaded image")]
    _drop_cached(*names)
    if done.status != 0 or not names:
        raise known(done.stdout, "docker load") or BuildError(
            f"no image could be loaded: {last_words(done.stdout) or 'it contains none'}",
            where="the archive",
            hint="docker save IMAGE > FILE writes such an archive",
        )
    return names


def tag(source: str, name: str, *, at: Path | None = None) -> None:
    """Give an image another name."""
    _drop_cached(name)
    docker("tag", source, name, at=at)


def untag(name: str, *, at: Path | None = None) -> None:
    """Remove a name from an image, and the image if that was its last name; does nothing if it is gone or in use."""
    _drop_cached(name)
    done = processes.run(["docker", "rmi", name], env=environment(at), timeout=QUICK)
    if done.status != 0 and not re.search(r"No such image|is using|in use", done.stderr):
        raise failed(done.stderr, "docker rmi")


def tags(prefix: str) -> list[str]:
    """The names that begin with `prefix` and a slash: `pushrod/shop` has `pushrod/shop/backend:1f2e…`."""
    if prefix not in _tags:
        form = "{{.Repository}}:{{.Tag}}"
        listed = docker("images", "--format", form, "--filter", f"reference={prefix}/*").split()
        _tags[prefix] = sorted({line for line in listed if "<none>" not in line})
    return _tags[prefix]


def prune_images(app: str) -> None:
    """Remove images without a name that were built for an app."""
    _drop_cached()
    docker("image", "prune", "--force", "--filter", f"label={APP}={app}")

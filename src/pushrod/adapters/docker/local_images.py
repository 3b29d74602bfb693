"""Images: found, fetched, loaded, named, removed."""

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
"""What `image`, `images` and `tags` have found, for this command's own life: they are asked for each image of an app
many times. What gives or takes a name forgets it."""


def _forget(*names: str) -> None:
    """What is known of these names may have changed; without any, all that is known."""
    _tags.clear()
    for name in names or tuple(_images):
        _images.pop(name, None)


def image(reference: str) -> dict[str, Any] | None:
    """What the engine knows of an image; None when it does not have it."""
    if reference not in _images:
        found = _inspected([reference])
        _images[reference] = found[0] if found else None
    return _images[reference]


def made_by(reference: str) -> list[str]:
    """What each layer of an image was made by, the newest first; a copy of files does not tell which they were."""
    return docker("history", "--no-trunc", "--format={{json .CreatedBy}}", reference).splitlines()


def images(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    """What an engine knows of those of these images that it has; of the host's, `image` knows them from then on."""
    if at is not None:
        return _inspected(references, at)
    unknown = [reference for reference in dict.fromkeys(references) if reference not in _images]
    asked = _inspected(unknown)
    found = {name: its for its in asked for name in its.get("RepoTags") or () if name in unknown}
    # Each that the engine has is told once, in whichever way it was called: if all have one of these names, it has
    # none of the others.
    _images.update({name: found.get(name) for name in unknown if name in found or len(found) == len(asked)})
    known = [its for reference in dict.fromkeys(references) if (its := _images.get(reference)) is not None]
    return known + [its for its in asked if its not in known]


def _inspected(references: Sequence[str], at: Path | None = None) -> list[dict[str, Any]]:
    if not references:
        return []
    argv = ["docker", "image", "inspect", *references]
    done = processes.run(argv, env=environment(at), timeout=QUICK)
    if done.status != 0 and not re.search("no such image", done.stderr, re.IGNORECASE):
        raise failed(done.stderr, "docker image inspect")
    found: list[dict[str, Any]] = msgspec.json.decode(done.stdout or "[]")
    return found


def copy(reference: str, *, source: Path | None, target: Path | None) -> None:
    """Have one engine load what another has, None being the host's."""
    _forget()
    saving = processes.output_of(["docker", "save", reference], env=environment(source), timeout=BUILD)
    with saving as archive:
        done = processes.run(["docker", "load"], env=environment(target), stdin=archive, timeout=BUILD)
    if done.status != 0:
        raise failed(done.stderr, f"docker load {reference}")


def pull(reference: str, on_line: OnLine, *, at: Path | None = None, hint: str = "") -> None:
    """Have an engine fetch an image from its registry. Raises BuildError, whose hint `hint` ends, where it cannot."""
    _forget()
    done = processes.run(["docker", "pull", reference], env=environment(at), timeout=BUILD, on_line=on_line)
    if done.status != 0:
        raise known(done.stdout, f"image {reference}") or BuildError(
            f"the image cannot be pulled: {last_words(done.stdout)}",
            where=reference,
            hint=f"check its name; without a registry: docker save IMAGE | ssh pushrod@HOST image load -{hint}",
        )


def load(archive: IO[bytes], on_line: OnLine) -> list[str]:
    """Load the images of an archive that `docker save` wrote; their names. Raises BuildError if it is none."""
    done = processes.run(["docker", "load"], env=environment(), stdin=archive, timeout=BUILD, on_line=on_line)
    names = [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("Loaded image")]
    _forget(*names)
    if done.status != 0 or not names:
        raise known(done.stdout, "docker load") or BuildError(
            f"no image could be loaded: {last_words(done.stdout) or 'it holds none'}",
            where="the archive",
            hint="docker save IMAGE > FILE writes what is wanted",
        )
    return names


def tag(source: str, name: str, *, at: Path | None = None) -> None:
    """Give an image a further name."""
    _forget(name)
    docker("tag", source, name, at=at)


def untag(name: str, *, at: Path | None = None) -> None:
    """Take a name from an image, and remove the image if that was its last; nothing where it is gone or in use."""
    _forget(name)
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
    _forget()
    docker("image", "prune", "--force", "--filter", f"label={APP}={app}")

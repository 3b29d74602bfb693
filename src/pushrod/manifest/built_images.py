"""Images that services of one manifest build for each other. Pure."""

import contextlib
from collections.abc import Mapping, Sequence

from pushrod.manifest import image_refs
from pushrod.manifest.document import Key


def names(services: Mapping[str, Key], projects: Sequence[str]) -> dict[str, str]:
    """Maps the complete name of each image that a service builds to the first such service.

    Compose names an image without `image` after its project and service, joined by `-`, before version 2 by `_`.
    """
    built: dict[str, str] = {}
    for name, key in services.items():
        own = key.get("image").text()
        unnamed = (f"{project}{sign}{name}" for project in projects for sign in "-_")
        for image in (own,) if own else unnamed:
            if key.get("build").given:
                with contextlib.suppress(ValueError):
                    built.setdefault(image_refs.normal(image), name)
    return built


def builders(services: Mapping[str, Key], built: Mapping[str, str]) -> dict[str, str]:
    """Maps each service that runs an image built by another, referenced by that image's name, to its builder.

    As in `docker compose up --build`: one image, built once.
    """
    by_name = {}
    for name, key in services.items():
        if built and not key.get("build").given and key.get("image").text():
            with contextlib.suppress(ValueError, KeyError):
                by_name[name] = built[image_refs.normal(key.get("image").text())]
    return by_name


def siblings(
    services: Mapping[str, Key], built: Mapping[str, str], bases: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """For each service that is built from images which others build: their names in its Dockerfile, with these
    services. Such a name is one of `additional_contexts`, or the built image's own."""
    others: dict[str, dict[str, str]] = {}
    for name, key in services.items():
        build = key.get("build")
        contexts = build.get("additional_contexts") if isinstance(build.value, dict) else Key("", None)
        for called, item in contexts.options().items():
            other = item.text().partition("service:")[2]
            if other in services and services[other].get("build").given:
                others.setdefault(name, {})[called] = other
        with contextlib.suppress(ValueError):
            other = built.get(image_refs.normal(bases.get(name, "")), name)
            if other != name and bases[name] not in others.get(name, {}):
                others.setdefault(name, {})[bases[name]] = other
    return others


def base(name: str, bases: Mapping[str, str], siblings: Mapping[str, Mapping[str, str]]) -> str:
    """The image from which a service is built, directly or through images that others build."""
    for _ in siblings:
        other = siblings.get(name, {}).get(bases.get(name, ""))
        if other is None:
            break
        name = other
    return bases.get(name, "")

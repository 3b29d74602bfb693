"""Which of several services is the site, as a person reading the file would decide. Pure."""

import posixpath
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from pushrod.core.values import Service
from pushrod.manifest import known_names

TOOLS = "the others are tools or helpers"
OTHERWISE = "the others' ports or names are not those of a site"
_UNLIKE_TOOLS = "the others' names are those of tools"


class Candidate(NamedTuple):
    """A possible entry, with the last component of the name of its image, or of the image from which it is built,
    and the port it publishes on the host. `uses` are the candidates with another image on which it depends, `helps`
    those with the same image, `before` those to which it sends requests, as far as the manifest says.
    """

    service: Service
    image: str
    published: int
    uses: frozenset[str] = frozenset()
    helps: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()


def rank(port: int) -> int:
    """How likely a site is at a port; lower is likelier."""
    return known_names.WEB_PORTS.index(port) if port in known_names.WEB_PORTS else len(known_names.WEB_PORTS)


def is_tools(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool."""
    name = image.replace("_", "-")
    return name in known_names.TOOLS or _is_silent(name) or known_names.SHOWING.fullmatch(name) is not None


def _is_silent(name: str) -> bool:
    return name in known_names.SILENT or name.endswith("-exporter")


def keeps_own(image: str) -> bool:
    """Whether an image, by the last component of its name, is such a tool with data of its own."""
    return image in known_names.KEEPERS


def is_stateless(image: str) -> bool:
    """Whether an image, by the last component of its name, is a server or a collector that keeps nothing."""
    return image in known_names.STATELESS or _is_silent(image)


def is_tool(service: Service, image: str) -> bool:
    """Whether a service is a tool for operators, which is never guessed to be the site."""
    words = " ".join((*service.entrypoint, *service.command))
    named = _words(service.name)
    if service.build is None:
        seems = named in known_names.LIKE_TOOLS or is_tools(named)
    else:
        seems = is_tools(named) and service.port in known_names.TOOL_PORTS
    return seems or is_tools(image) or known_names.PROGRAMS.search(posixpath.normpath(words)) is not None


def is_stores(name: str) -> bool:
    """Whether a service's name says that it keeps data: `db`, `graph-db`."""
    return bool(known_names.STORES & {*_words(name).split("-")[-1:]})


def is_other(port: int) -> bool:
    """Whether a port is known for something other than HTTP; a debugger's port is, beside others."""
    return port in known_names.OTHER_PORTS or port in known_names.DEBUGGERS


def speaks_otherwise(service: Service) -> bool:
    """Whether a service has only a port that is known for something other than HTTP."""
    if service.port not in known_names.DEBUGGERS:
        return service.port in known_names.OTHER_PORTS
    words = (*service.entrypoint, *service.command, *service.environment)
    values = (value for value in service.environment.values() if value)
    return any(map(known_names.DEBUGGING.search, (*words, *values, " ".join(words))))


def base_of_apps(image: str) -> bool:
    """Whether ordinary programs are built from an image, by the last component of its name, that is a tool itself."""
    return image in known_names.BASES


def is_front(service: Service) -> bool:
    """Whether a service's name or port says that browsers talk to it."""
    return service.name in _fronts([service.name]) or _has_page(service)


def _has_page(service: Service) -> bool:
    words = {*_words(service.name).split("-")}
    return (
        service.port in known_names.DEVELOPING
        or service.port in known_names.PAGE_PORTS
        or bool(known_names.PAGES & words)
    )


def is_beside(port: int) -> bool:
    """Whether a port usually serves something beside the site."""
    return port in known_names.BESIDE


def _words(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _fronts(names: Sequence[str]) -> set[str]:
    """The services that browsers talk to, judging by all of their names."""
    names = [name for name in names if not is_admins(name)]
    fronts = {
        name
        for name in names
        if _words(name) in known_names.FRONT_NAMES or known_names.FRONTS & {*_words(name).split("-")}
    }
    if any(map(_is_back, names)) or not fronts:
        fronts |= {name for name in names if _words(name) in known_names.PAIRED_FRONTS}
    return fronts


def is_admins(name: str) -> bool:
    """Whether a service's name says that it is for administrators."""
    return bool(known_names.ADMINS & {*_words(name).split("-")})


def _is_back(name: str) -> bool:
    return bool(known_names.BACKS & {*_words(name).split("-")})


def choose(candidates: Sequence[Candidate], awaited: Collection[str]) -> tuple[str, str]:
    """The name of the likeliest candidate and the reason; empty if two are equally likely, if its name says it is
    for administrators, or if it is an API beside what may be its page. `awaited` are the services on which those
    depend that are not candidates."""
    names = [c.service.name for c in candidates]
    fronts = _fronts(names) | {c.service.name for c in candidates if _has_page(c.service)}
    used = {
        name
        for c in candidates
        if is_plausible(c)
        for name in c.uses
        if c.service.name not in _uses(candidates, name)
    }
    helped = {name for c in candidates for name in (c.helps if is_plausible(c) else c.helps | c.uses)}
    surroundings = Surroundings(frozenset(fronts), frozenset(used), frozenset({*awaited, *helped}))
    ordered = sorted(candidates, key=lambda c: _key(c, surroundings))
    first, second = (_key(c, surroundings) for c in ordered[:2])
    likeliest = ordered[0]
    pages = any(_words(name) == "dashboard" for name in names)
    if is_admins(likeliest.service.name) or (pages and _is_back(likeliest.service.name)):
        return "", ""
    for mine, other, why in zip(first, second, _reasons(likeliest), strict=True):
        if mine < other:
            usual = _usual(likeliest.service) > _usual(ordered[1].service)
            documents = _words(ordered[1].service.name) in known_names.DOCUMENTS
            unclear = why == _UNLIKE_TOOLS and usual and not documents
            return ("", "") if unclear else (likeliest.service.name, why)
    return "", ""


def _usual(service: Service) -> int:
    return 0 if service.port in known_names.SITES else 1 if service.port in known_names.WEB_PORTS else 2


class Surroundings(NamedTuple):
    """What the candidates say about each other: which have the name or port of a front end, which are used by
    another that may be the site, and on which anything else depends."""

    fronts: frozenset[str]
    used: frozenset[str]
    awaited: frozenset[str]


def is_plausible(candidate: Candidate) -> bool:
    """Whether nothing in a candidate's own name, image and port speaks against its being the site."""
    service = candidate.service
    known = speaks_otherwise(service) or is_stores(service.name) or is_beside(service.port)
    return not known and not _beside_site(candidate) and not is_admins(service.name)


def _uses(candidates: Sequence[Candidate], name: str) -> frozenset[str]:
    return next((c.uses for c in candidates if c.service.name == name), frozenset())


def _key(candidate: Candidate, surroundings: Surroundings) -> tuple[int, ...]:
    service = candidate.service
    return (
        not _is_before(candidate),
        _beside_site(candidate),
        speaks_otherwise(service) or is_stores(service.name),
        service.build is None,
        candidate.published not in known_names.SITES,
        service.name not in surroundings.fronts,
        is_beside(service.port),
        service.name in surroundings.used,
        service.name not in surroundings.awaited,
        service.build is not None and is_tools(_words(service.name)),
        _usual(service),
        rank(candidate.published),
        is_admins(service.name),
    )


def _is_before(candidate: Candidate) -> bool:
    """Whether a candidate is a gateway in front of the others: by its image, or because it publishes port 80 or 443
    and sends requests to one of them."""
    service, public = candidate.service, candidate.published in known_names.SITES
    if candidate.image in known_names.GATEWAYS:
        return True
    if candidate.image in known_names.GUARDS:
        return public or bool(candidate.before)
    tool = is_tool(service, candidate.image) or _words(service.name) in known_names.LIKE_TOOLS
    return public and bool(candidate.before) and not tool and not is_stores(service.name)


def _beside_site(candidate: Candidate) -> int:
    """How surely a service is there for another one, or for its operators."""
    service, image = candidate.service, candidate.image
    if is_tool(service, image):
        return 3 if _is_silent(image) or _is_silent(service.name) else 2
    return int(
        image in known_names.HELPERS | known_names.GUARDS
        or _words(service.name) in known_names.HELPERS | known_names.LIKE_TOOLS
    )


def _reasons(candidate: Candidate) -> tuple[str, ...]:
    service = candidate.service
    named = (
        "it is developed with a server for pages"
        if service.port in known_names.DEVELOPING
        else "its name says so"
    )
    if service.port in known_names.PAGE_PORTS and not known_names.PAGES & {*_words(service.name).split("-")}:
        named = f"port {service.port} is usual for pages"
    return (
        "it is a gateway in front of the others",
        TOOLS,
        OTHERWISE,
        "it is built here",
        f"it publishes port {candidate.published}",
        named,
        "the others' ports usually serve something beside a site",
        "none of the others depends on it",
        "others depend on it",
        _UNLIKE_TOOLS,
        f"it listens on port {service.port}",
        f"it publishes port {candidate.published}",
        "the other's name is that of a tool for administrators",
    )

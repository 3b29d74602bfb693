"""The file of a site of the host itself: the web page at its domain. Pure."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pushrod.adapters.nginx import access, headers, locations, server
from pushrod.adapters.nginx.quoting import indented, quoted
from pushrod.adapters.nginx.sites import Known, Listening, OwnSite, validate_own
from pushrod.adapters.templates import beside, fill
from pushrod.core.site import CHAIN, KEY

Own = Mapping[str, OwnSite | None] | None
"""Changes to the sites of the host itself: None removes one."""

STRICTLY = 15768000
"""Seconds for which browsers use TLS only: half a year, as for apps."""

VALUES = "own.json"
"""The file in a tree with the sites of the host itself as values; absent if there are none."""

_PLAIN = beside(__file__, "own_plain.conf")

_ENCRYPTED = beside(__file__, "own_encrypted.conf")

_NOT_YET = 'return 503 "Its certificate is on its way.\\n";'


def read(tree: Path) -> dict[str, OwnSite]:
    """Those of a tree; none if they cannot be read, until they are set again."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((tree / VALUES).read_bytes(), type=dict[str, OwnSite])
    return {}


def merged(known: Mapping[str, OwnSite], changes: Mapping[str, OwnSite | None] | None) -> dict[str, OwnSite]:
    """The sites with these changes."""
    both = {**known, **(changes or {})}
    return {name: site for name, site in both.items() if site is not None}


def render(site: OwnSite, *, listening: Listening, directory: Path, known: Known) -> str:
    """Its servers: one without TLS, which redirects, and one with. Raises EdgeError for a site that cannot be
    served."""
    validate_own(site)
    port = "" if listening.own_port == 443 else f":{listening.own_port}"
    values = {
        "name": site.name,
        "domain": site.domain,
        "access_log": quoted(directory / "logs" / access.NAME),
        "headers": headers.NAME,
    }
    text = fill(
        _PLAIN,
        **values,
        listen=indented(
            server.listen_at(listening.port, listening, "") + server.h2c(listening.port, listening), 4
        ),
        place=server.CHALLENGES,
        inside=indented(locations.INSIDE, 8),
        directory=quoted(directory / "acme"),
        answer=f"return 308 https://{site.domain}{port}$request_uri;" if site.generation else _NOT_YET,
    )
    if not site.generation:
        return text
    listen = server.listen_at(listening.own_port, listening, f" ssl{'' if known.http2 else ' http2'}")
    place = directory / "certificates" / site.name / site.generation
    return text + fill(
        _ENCRYPTED,
        **values,
        listen=indented(listen + ("http2 on;\n" if known.http2 else ""), 4),
        chain=quoted(place / CHAIN),
        key=quoted(place / KEY),
        socket=quoted(Path(site.socket), prefix="unix:"),
        left_out=headers.LEFT_OUT,
        seconds=str(STRICTLY),
    )

"""Manifests as `pushrod export` reads them, without an app: the files of the commit are those of a directory."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pushrod import manifest
from pushrod.adapters import compose
from pushrod.core.site import Site, Tls
from pushrod.core.values import Image, Service
from pushrod.engines.docker import sources
from pushrod.engines.docker.containers import Parts
from pushrod.engines.exported import Exported, image_names
from pushrod.manifest import policy
from pushrod.manifest.policy import Terms
from pushrod.releases import exporting
from pushrod.releases.exporting import known
from pushrod.stores import registry, variables
from pushrod.system import trees
from tests.unit import samples

SECRETS = {"API_TOKEN": "token-of-the-app", "ADMINS": "anna:a-long-password"}


def password(whose: str) -> str:
    """A password that shows whose it is."""
    return f"password0of0{whose}"


def read(directory: Path, *allowed: str) -> Exported:
    """The compose file of a directory."""
    document = compose.load(directory, project="shop", variables=SECRETS, planned=True)
    return of_document(document, directory, compose.bases(document, directory), *allowed)


def of_document(
    given: Mapping[str, Any], directory: Path, bases: Mapping[str, str], *allowed: str
) -> Exported:
    """The same for a resolved document, and for an app with grants."""
    document, _ = policy.apply(given, Terms("docker", samples.LIMITS, allowed))
    parsed = manifest.read(document, engine="docker", bases=bases)
    services = (*parsed.stateless, *parsed.stores)
    names = image_names("shop", samples.COMMIT, services, "registry.example.com/team", {}, built=False)
    endpoints = [
        endpoint
        for s in parsed.stores
        if (endpoint := registry.of(s.store).endpoint(s, "shop", password, ours=parsed.ours))
    ]

    def environment(service: Service, *, migrating: bool) -> dict[str, str]:
        identity = {"PUSHROD_APP": "shop", "PUSHROD_RELEASE": "7", "PUSHROD_COMMIT": samples.COMMIT}
        return variables.resolve(
            service,
            Image(id=""),
            secrets=SECRETS,
            endpoints=endpoints,
            identity=identity,
            migrating=migrating,
        )

    def tree(source: str) -> dict[str, bytes] | None:
        top = directory / source
        if not top.exists() or sources.is_a_place(top):
            return None
        return (
            {"": top.read_bytes()} if top.is_file() else {p: (top / p).read_bytes() for p in trees.files(top)}
        )

    encrypted = parsed.tls.source != "off" and bool(parsed.domains)
    basic = {r.auth.basic for r in parsed.routing.routes if r.auth and r.auth.basic}
    return Exported(
        app="shop",
        release="r7",
        number=7,
        commit=samples.COMMIT,
        manifest=parsed,
        document=document,
        environments={s.name: environment(s, migrating=False) for s in parsed.stateless}
        | {f"{s.name}:release": environment(s, migrating=True) for s in parsed.stateless},
        stores={
            s.name: registry.of(s.store).first_environment(s) | registry.of(s.store).environment(s, "shop", password)
            for s in parsed.stores
        },
        scripts={
            s.name: scripts
            for s in parsed.stores
            if (scripts := registry.of(s.store).scripts(s, "shop", password, ddl=False))
        },
        is_open=partial(exporting._is_open, {*SECRETS.values()}),
        images={
            s.name: known(s, Parts(names[s.name], root=s.build is None, port=8080 if s.build and not s.store else 0))
            for s in services
        },
        tree=tree,
        site=Site(
            app="shop",
            release=7,
            port=80,
            backends=(),
            domains=parsed.domains,
            tls=Tls("00000000", parsed.domains, 443, parsed.tls.hsts) if encrypted else None,
            routing=parsed.routing,
            passwords=dict.fromkeys(basic, "0123456789abcdef"),
        ),
        passwords={"0123456789abcdef": "anna:{SSHA}x\n"} if basic else {},
        variables=SECRETS,
        inputs="0123456789abcdef" * 2,
    )  # fmt: skip

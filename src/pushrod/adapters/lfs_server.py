"""Files fetched from a Git LFS server by its batch API (git-lfs, docs/api/batch.md and basic-transfers.md).

The commit's `.lfsconfig` names the server. The server, and those that it refers to, are contacted by
`adapters/https.py`; no credentials are sent.
"""

import contextlib
import hashlib
import http.client
import itertools
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from pushrod.adapters import git
from pushrod.adapters.https import Client, FetchError
from pushrod.adapters.lfs import Pointer, place

_BATCH = 100  # objects per request, the LFS client's default
_ANSWER = 1 << 20  # bytes of an answer to one
_DEADLINE = 300.0  # seconds for all files, whatever is waited for
_TYPE = "application/vnd.git-lfs+json"


class _Link(msgspec.Struct):
    href: str
    header: dict[str, str] = {}


class _Actions(msgspec.Struct):
    download: _Link | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Object(msgspec.Struct):
    oid: str
    actions: _Actions = msgspec.field(default_factory=_Actions)
    error: _Error | None = None


class _Answer(msgspec.Struct):
    objects: list[_Object]
    transfer: str = "basic"


def address(repository: Path, commit: str) -> str:
    """The address of the LFS server in a commit's `.lfsconfig`; empty if there is none."""
    return dict(git.settings(repository, commit, ".lfsconfig", "lfs.")).get("lfs.url", "").rstrip("/")


def fetch(url: str, pointers: Sequence[Pointer], store: Path, allowed: Collection[str]) -> None:
    """Fetch the files of pointers into a store of LFS objects, each checked against its SHA-256.

    `allowed` are servers that may be contacted wherever they are. Raises FetchError at once if a server cannot be
    contacted; for files that it does not have, after all others are fetched: each reason once, with one file.
    """
    by_oid = {pointer.oid: pointer for pointer in pointers}
    oids = sorted(by_oid)
    missing: dict[str, str] = {}
    try:
        with contextlib.closing(Client(allowed, _DEADLINE)) as client:
            for start in range(0, len(oids), _BATCH):
                some = [by_oid[oid] for oid in oids[start : start + _BATCH]]
                for described in _batch(client, url, some):
                    if described.oid in by_oid and (
                        why := _download(client, described, by_oid[described.oid], store)
                    ):
                        missing.setdefault(why, by_oid[described.oid].path)
    except (OSError, http.client.HTTPException, ValueError) as e:
        raise FetchError(getattr(e, "strerror", None) or str(e) or type(e).__name__) from e
    if missing:
        raise FetchError("; ".join(f"{path}: {why}" for why, path in itertools.islice(missing.items(), 3)))


def _batch(client: Client, url: str, pointers: Sequence[Pointer]) -> list[_Object]:
    asked = {
        "operation": "download",
        "transfers": ["basic"],
        "objects": [{"oid": p.oid, "size": p.size} for p in pointers],
        "hash_algo": "sha256",
    }
    headers = {"Accept": _TYPE, "Content-Type": _TYPE}
    body = b"".join(client.ask("POST", f"{url}/objects/batch", headers, json.dumps(asked).encode(), _ANSWER))
    if len(body) > _ANSWER:
        raise FetchError("the LFS server's answer is too large")
    try:
        return msgspec.json.decode(body, type=_Answer).objects
    except RecursionError as e:
        raise FetchError("the LFS server's answer is nested without end") from e


def _download(client: Client, described: _Object, pointer: Pointer, store: Path) -> str:
    """Fetch one file into the store; returns why it is missing, as a phrase, or an empty text."""
    link = described.actions.download
    if described.error or not link:
        return described.error.message[:200] if described.error else "there is no such file"
    target = place(store, pointer.oid)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    digest, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as f:
            for piece in client.ask("GET", link.href, link.header, None, pointer.size):
                digest.update(piece)
                size += f.write(piece)
            f.flush()
            os.fsync(f.fileno())
        if size != pointer.size or digest.hexdigest() != pointer.oid:
            return "the server's file does not match the pointer"
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return ""

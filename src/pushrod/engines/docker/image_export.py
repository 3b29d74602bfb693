"""Writes an image of a builder's engine as an archive, from the files of its data directory.

Part of `builder`, which runs with the standard library only.
"""

import base64
import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


def export(store: Path, image: str, name: str, known: frozenset[str], out: BinaryIO) -> None:
    """Write an archive for `docker load` with an image under a name, without the layers that are known. `store` is
    the engine's data directory.

    A layer is known by its chain ID (OCI image specification, "Layer ChainID"): an engine does not open the file of a
    layer that it has. The other layers are reassembled from what the engine keeps, as the engine itself does it
    (github.com/vbatts/tar-split), byte for byte; the loading engine verifies them.
    """
    kept = store / "image/overlay2"
    digest = image.removeprefix("sha256:")
    config = (kept / "imagedb/content/sha256" / digest).read_bytes()
    chains = chained(json.loads(config)["rootfs"]["diff_ids"])
    layers = [f"{chain}.tar" for chain in chains]
    manifest = [{"Config": f"{digest}.json", "RepoTags": [name], "Layers": layers}]
    for path, content in ((f"{digest}.json", config), ("manifest.json", json.dumps(manifest).encode())):
        _begin(out, path, len(content))
        out.write(content)
        out.write(bytes(-len(content) % tarfile.BLOCKSIZE))
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for chain in (c for c in chains if f"sha256:{c}" not in known):
        place = kept / "layerdb/sha256" / chain
        files = store / "overlay2" / (place / "cache-id").read_text().strip() / "diff"
        parts = place / "tar-split.json.gz"
        with gzip.open(parts) as lines:
            size = sum(
                len(segment) if segment is not None else length for segment, _, length in _parts(lines)
            )
        _begin(out, f"{chain}.tar", size)
        with gzip.open(parts) as lines:
            os.chroot(files)  # confines links in the layer
            for segment, path_in_layer, length in _parts(lines):
                if segment is not None:
                    out.write(segment)
                else:
                    _copy(b"/" + path_in_layer, length, out)
            os.fchdir(root)
            os.chroot(".")
        out.write(bytes(-size % tarfile.BLOCKSIZE))
    out.write(bytes(2 * tarfile.BLOCKSIZE))


def chained(layers: list[str]) -> list[str]:
    """The chain IDs of an image's layers, without the digest's prefix."""
    chains: list[str] = []
    for layer in layers:
        above = f"sha256:{chains[-1]} " if chains else ""
        chain = hashlib.sha256(f"{above}{layer}".encode()).hexdigest()
        chains.append(chain if above else layer.removeprefix("sha256:"))
    return chains


def _parts(lines: Any) -> Iterator[tuple[bytes | None, bytes, int]]:
    """The parts of a layer's archive, in order: literal bytes, or a file's path and length."""
    for line in lines:
        part = json.loads(line)
        if part["type"] == 2:
            yield base64.b64decode(part["payload"]), b"", 0
        elif part.get("size"):
            raw = part.get("name_raw")
            yield None, base64.b64decode(raw) if raw else part["name"].encode(), part["size"]


def _copy(path: bytes, length: int, out: BinaryIO) -> None:
    with open(path, "rb") as source:  # noqa: PTH123 a path in bytes
        while length:
            piece = source.read(min(length, 1 << 20))
            if not piece:
                raise EOFError(path)
            out.write(piece)
            length -= len(piece)


def _begin(out: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    out.write(info.tobuf(tarfile.GNU_FORMAT))

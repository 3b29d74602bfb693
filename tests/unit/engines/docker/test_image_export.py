"""The archives of images that a builder hands over."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from pushrod.engines.docker import image_export


def test_a_layer_is_identified_by_all_layers_below_it() -> None:
    first, second = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    chain = hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert image_export.chained([first, second]) == ["a" * 64, chain]
    assert image_export.chained([]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its root directory")
def test_an_archive_contains_exactly_the_unknown_layers(tmp_path: Path) -> None:
    """Also for a file behind a link, which cannot lead out of the layer."""
    outside = tmp_path / "outside"
    outside.write_text("the host's")
    one = _layer(tmp_path, "one", {"a/file": b"first"}, link="b")
    two = _layer(tmp_path, "two", {"big": bytes(3_000_000), "b/file": b"x"}, link="c")
    config = json.dumps(
        {"rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(t).hexdigest()}" for t in (one, two)]}}
    )
    image = hashlib.sha256(config.encode()).hexdigest()
    contents = tmp_path / "image/overlay2/imagedb/content/sha256"
    contents.mkdir(parents=True)
    (contents / image).write_text(config)
    chains = image_export.chained(json.loads(config)["rootfs"]["diff_ids"])
    for chain, name in zip(chains, ("one", "two"), strict=True):
        (tmp_path / "image/overlay2/layerdb/sha256" / name).rename(
            tmp_path / "image/overlay2/layerdb/sha256" / chain
        )
    for known, expected in (((), [one, two]), ((f"sha256:{chains[0]}",), [two])):
        out = io.BytesIO()
        if pid := os.fork():  # it changes its root directory
            assert os.waitpid(pid, 0)[1] == 0
            out = io.BytesIO((tmp_path / "out.tar").read_bytes())
        else:
            with (tmp_path / "out.tar").open("wb") as f:
                image_export.export(tmp_path, f"sha256:{image}", "pushrod/shop/web:1", frozenset(known), f)
            os._exit(0)
        with tarfile.open(fileobj=out) as archive:
            result = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        manifest = json.loads(result["manifest.json"])
        assert manifest == [
            {
                "Config": f"{image}.json",
                "RepoTags": ["pushrod/shop/web:1"],
                "Layers": [f"{chain}.tar" for chain in chains],
            }
        ]
        assert [result[f"{c}.tar"] for c in chains if f"{c}.tar" in result] == expected


def _layer(store: Path, name: str, files: dict[str, bytes], link: str) -> bytes:
    """A layer as the engine stores it: its files, and the split archive of them; returns that archive."""
    made = io.BytesIO()
    diff = store / "overlay2" / name / "diff"
    parts: list[dict[str, object]] = []
    written = 0
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, content in files.items():
            (diff / path).parent.mkdir(parents=True, exist_ok=True)
            (diff / path).write_bytes(content)
            info = tarfile.TarInfo(path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
            begun = info.offset if info.offset else written
            head = made.getvalue()[begun : begun + tarfile.BLOCKSIZE]
            padding = bytes(-len(content) % tarfile.BLOCKSIZE)
            parts += [
                {"type": 2, "payload": base64.b64encode(head).decode()},
                {"type": 1, "name": path, "size": len(content)},
                {"type": 2, "payload": base64.b64encode(padding).decode()},
            ]
            written = begun + tarfile.BLOCKSIZE + len(content) + len(padding)
    parts.append({"type": 2, "payload": base64.b64encode(made.getvalue()[written:]).decode()})
    (diff / link).parent.mkdir(parents=True, exist_ok=True)
    if not (diff / link).exists():
        (diff / link).symlink_to("/")
    place = store / "image/overlay2/layerdb/sha256" / name
    place.mkdir(parents=True)
    (place / "cache-id").write_text(name)
    with gzip.open(place / "tar-split.json.gz", "wt") as f:
        f.writelines(json.dumps(part) + "\n" for part in parts)
    return made.getvalue()

"""Builders of apps: what the host tells one, and the archives that they give away."""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from pushrod.engines.docker import builder, builders


@pytest.mark.parametrize(
    ("resolved", "plain", "expected"),
    [
        ("", "nameserver 10.0.0.2\nsearch x\n", ["10.0.0.2"]),
        (
            "nameserver 192.0.2.1\nnameserver 2001:db8::1\n",
            "nameserver 127.0.0.53\n",
            ["192.0.2.1", "2001:db8::1"],
        ),
        ("", "nameserver 127.0.0.1\nnameserver ::1\n", []),
        ("", "nameserver\nnonsense\nnameserver x\n", []),
    ],
)
def test_name_servers_are_those_that_others_reach(
    tmp_path: Path, resolved: str, plain: str, expected: list[str]
) -> None:
    places = [tmp_path / "resolved", tmp_path / "plain"]
    for place, text in zip(places, (resolved, plain), strict=True):
        place.write_text(text)
    assert builders.name_servers([str(tmp_path / "none"), *map(str, places)]) == expected


def test_the_container_has_places_for_what_is_mounted_and_no_file() -> None:
    with tarfile.open(fileobj=io.BytesIO(builders._empty())) as archive:
        members = {m.name: m for m in archive}
    assert not [m for m in members.values() if m.isfile()]
    assert {"usr", "var/lib/docker", "etc/ssl/certs", "builder"} <= {
        m.name for m in members.values() if m.isdir()
    }
    assert members["bin"].linkname == "usr/bin"


def test_a_layer_is_known_by_all_that_is_below_it() -> None:
    first, second = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    chain = hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert builder.chained([first, second]) == ["a" * 64, chain]
    assert builder.chained([]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its root directory")
def test_an_archive_has_the_layers_that_are_not_known_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a file that is reached through a link, which leads nowhere out of the layer."""
    monkeypatch.setattr(builder, "STORE", tmp_path)
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
    chains = builder.chained(json.loads(config)["rootfs"]["diff_ids"])
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
                builder.export(f"sha256:{image}", "pushrod/shop/web:1", frozenset(known), f)
            os._exit(0)
        with tarfile.open(fileobj=out) as archive:
            found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        manifest = json.loads(found["manifest.json"])
        assert manifest == [
            {
                "Config": f"{image}.json",
                "RepoTags": ["pushrod/shop/web:1"],
                "Layers": [f"{chain}.tar" for chain in chains],
            }
        ]
        assert [found[f"{c}.tar"] for c in chains if f"{c}.tar" in found] == expected


def _layer(store: Path, name: str, files: dict[str, bytes], link: str) -> bytes:
    """A layer as the engine keeps it: its files, and an archive of them taken apart; returns that archive."""
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

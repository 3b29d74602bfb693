"""What is done about what containers write outside of their volumes."""

import json
from pathlib import Path

import pytest

from pushrod.engines.docker import layers

MIB = 1 << 20


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """An engine with two apps; what it is told to do."""
    told: list[tuple[str, ...]] = []
    sizes = {"shop-r1-web-1": 200 * MIB, "shop-redis": 85 * MIB, "blog-r2-web-1": MIB}

    def docker(*argv: str, timeout: float) -> str:
        told.append(argv)
        if argv[0] == "ps":
            return "".join(f"{name.partition('-')[0]} {name}\n" for name in sizes)
        if argv[0] == "container":
            return "".join(f"/{name} {sizes[name]}\n" for name in argv if name in sizes)
        return ""

    monkeypatch.setattr(layers, "docker", docker)
    monkeypatch.setattr(layers, "_MEMORY", tmp_path / "layers.json")
    for app in ("shop", "blog"):
        (tmp_path / "apps" / app).mkdir(parents=True)
    return told


def test_what_is_too_much_is_stopped_for_good_and_what_comes_near_is_said_once(
    engine: list[tuple[str, ...]], tmp_path: Path
) -> None:
    assert layers.main([str(tmp_path), str(100 * MIB)]) == 0
    assert [argv for argv in engine if argv[0] in ("update", "stop")] == [
        ("update", "--restart=no", "shop-r1-web-1"),
        ("stop", "--time", "10", "shop-r1-web-1"),
    ]
    lines = [json.loads(line) for line in (tmp_path / "apps/shop/watch.log").read_text().splitlines()]
    assert [(line["container"], line["did"].partition(";")[0]) for line in lines] == [
        ("shop-r1-web-1", "stopped"),
        ("shop-redis", "it is stopped at 100 MiB"),
    ]
    assert not (tmp_path / "apps/blog/watch.log").exists()
    layers.main([str(tmp_path), str(100 * MIB)])
    said = (tmp_path / "apps/shop/watch.log").read_text()
    assert said.count("shop-redis") == 1


def test_an_engine_that_does_not_answer_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layers, "docker", lambda *_argv, timeout: "")
    monkeypatch.setattr(layers, "_MEMORY", tmp_path / "layers.json")
    assert layers.main([str(tmp_path), "1"]) == 0

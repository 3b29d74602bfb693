"""The mounts of a service."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.core.values import Volume
from pushrod.manifest import mounts
from pushrod.manifest.document import Key


def test_volumes_bind_mounts_and_file_systems_in_memory_are_read() -> None:
    key = Key(
        "services.web",
        {
            "volumes": [
                {"type": "volume", "source": "media", "target": "/code/media/"},
                {"type": "volume", "target": "/code/node_modules"},
                {"type": "bind", "source": "./data/", "target": "/data", "read_only": True},
                {"type": "bind", "source": "/var/run/docker.sock", "target": "/var/run/docker.sock"},
                {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": "1048576", "mode": 0o700}},
            ],
            "tmpfs": ["/cache", "/run/shop/:size=64k,uid=5,noexec"],
        },
    )
    assert mounts.read(key) == (
        Volume("media", "/code/media"),
        Volume("", "/code/node_modules"),
        Volume("data", "/data", bind=True, read_only=True),
        Volume("/var/run/docker.sock", "/var/run/docker.sock", bind=True),
        Volume("", "/scratch", tmpfs="size=1048576,mode=700"),
        Volume("", "/cache", tmpfs="mode=1777"),
        Volume("", "/run/shop", tmpfs="mode=1777,size=64k,noexec"),
    )
    assert mounts.read(Key("services.web", {"tmpfs": "/one"})) == (Volume("", "/one", tmpfs="mode=1777"),)
    assert mounts.read(Key("services.web", {})) == ()


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("../outside", "/data", "leaves the repository"),
        (".\\app", "/code", "is a Windows path"),
        ("./app", "code", "is not an absolute path"),
        ("/srv/media", "/media", ""),
    ],
)
def test_forms_that_no_engine_can_use_are_refused(source: str, target: str, words: str) -> None:
    key = Key("services.web", {"volumes": [{"type": "bind", "source": source, "target": target}]})
    if not words:
        mounts.check(key)
        return
    with pytest.raises(ManifestError, match=words):
        mounts.check(key)


def test_a_store_has_only_sql_files_of_the_commit_for_its_first_start() -> None:
    def bind(source: str, target: str) -> dict[str, str]:
        return {"type": "bind", "source": source, "target": f"{mounts.FIRST_SCRIPTS}{target}"}

    given = [bind("./db", ""), bind("a.sql", "/a.sql"), bind("b.sh", "/b.sh"), bind("/srv/c.sql", "/c.sql")]
    key = Key("services.db", {"volumes": [*given, {"type": "volume", "source": "data", "target": "/data"}]})
    assert [v.source for v in mounts.first_scripts(key)] == ["db", "a.sql"]

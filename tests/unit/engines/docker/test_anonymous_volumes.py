"""Anonymous volumes that outlive the containers of a service."""

from typing import Any

import pytest

from pushrod.engines.docker import anonymous_volumes, rendering
from pushrod.engines.docker.containers import Parts
from tests.unit import samples
from tests.unit.engines.docker.rendered import APP, render_document

BLOG = Parts("pushrod/shop/blog:1111", root=True, data=("/var/www/html",), port=80)


def anonymous(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "volume", "target": path, **more}


def of(raw: dict[str, Any], image: Parts = BLOG, **changes: Any) -> list[str]:
    given: dict[str, Any] = {"image": "wordpress", **changes}
    service = samples.service("blog", **given)
    return anonymous_volumes.of_instance({"services": {"blog": raw}}, service, image)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ({}, ["/var/www/html"]),
        ({"volumes": [anonymous("/uploads/")]}, ["/uploads", "/var/www/html"]),
        ({"volumes": [anonymous("/var/www/html")]}, ["/var/www/html"]),
        ({"volumes": [anonymous("/var/www/html", source="html")]}, []),
        ({"volumes": [anonymous("/var/www/html/wp-content", source="html")]}, ["/var/www/html"]),
        ({"volumes": [{"type": "bind", "source": "./html", "target": "/var/www/html/"}]}, []),
        ({"volumes": [{"type": "tmpfs", "target": "/var/www/html"}]}, []),
        ({"tmpfs": ["/var/www/html:size=1m"]}, []),
        ({"tmpfs": "/var/www/html"}, []),
        ({"volumes": [anonymous("/var/www/html", read_only=True)]}, []),
        ({"volumes": [anonymous("/code/node_modules"), anonymous("/tmp/x"), anonymous("/var/cache/x")]},
         ["/var/www/html"]),
    ],
)  # fmt: skip
def test_volumes_without_a_name_are_kept_unless_something_else_is_mounted(
    raw: dict[str, Any], kept: list[str]
) -> None:
    assert of(raw) == kept
    assert of(raw, role="job") == []


def test_a_directory_in_which_a_built_image_has_files_is_that_of_the_release() -> None:
    raw = {"volumes": [anonymous("/code/uploads"), anonymous("/code/public")]}
    image = BLOG._replace(filled=frozenset({"/code/public"}))
    assert of(raw, image) == ["/code/uploads", "/var/www/html"]


def test_volumes_of_instances_have_names_of_their_own() -> None:
    places = [
        ("web-1", "/data"),
        ("web-2", "/data"),
        ("web", "/1/data"),
        ("web-1", "/a/b"),
        ("web-1", "/a-b"),
    ]
    keys = [anonymous_volumes.instance_key(*place) for place in places]
    assert keys[0].startswith("web-1-data-")
    assert len({*keys}) == len(keys)
    assert len(anonymous_volumes.instance_key("web-1", "/x" * 200)) == 200


def test_options_of_a_mount_stay() -> None:
    mounts = [anonymous("/data/", volume={"nocopy": True}), anonymous("/other")]
    named = anonymous_volumes.named(mounts, ["/data"], "web-1")
    assert named == [
        anonymous("/other"),
        anonymous("/data/", volume={"nocopy": True}, source=anonymous_volumes.instance_key("web-1", "/data")),
    ]
    config = {"type": "bind", "source": "/x", "target": "/data"}  # a file of the app's at the same path
    assert anonymous_volumes.named([config], ["/data"], "web-1") == [config]


def rendered(**changes: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rendered services of a pulled program in two instances, and the names of the app's volumes."""
    blog = {"image": "wordpress", "ports": [{"target": 80, "published": "80"}], "deploy": {"replicas": 2}}
    blog |= {"volumes": [anonymous("/uploads")], **changes}
    result = render_document({"services": {"blog": blog}}, {"blog": BLOG}, {})
    volumes = rendering.volumes(APP, result.document, {"blog": BLOG}, result.parsed)
    return [result.service(name) for name in ("blog-1", "blog-2", "blog.run")], sorted(volumes)


def test_each_instance_keeps_volumes_that_a_release_command_sees_too() -> None:
    services, volumes = rendered()
    one, two, run = [
        {v["target"]: v.get("source") for v in s["volumes"] if v["type"] == "volume"} for s in services
    ]
    assert one == run
    assert {*one} == {*two} == {"/uploads", "/var/www/html"}
    assert volumes == sorted(f"shop_{source}" for source in (*one.values(), *two.values()))
    assert len({*volumes}) == 4
    assert rendered() == (services, volumes)  # the next release has the same


def test_a_stores_data_in_memory_needs_no_volume() -> None:
    document = {"services": {"db": {"tmpfs": ["/var/lib/x"]}}}
    image = BLOG._replace(data=("/var/lib/x", "/backups"))
    assert anonymous_volumes.of_store(document, samples.store("db"), image) == ["/backups"]

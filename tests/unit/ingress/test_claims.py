"""Who owns which names, whether or not their apps run."""

import json
import threading
from pathlib import Path

import pytest

from pushrod.core.errors import EdgeError
from pushrod.ingress import claims
from pushrod.state.apps import App, Root, Settings
from pushrod.system import files


def nobody(_app: str) -> bool:
    return False


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def made(root: Root, name: str, *domains: str, live: bool = True, **changes: object) -> App:
    """An app; with `live`, with a live release with these domains, on a host where nothing was ever claimed."""
    app = App(root, name)
    app.directory.mkdir(parents=True)
    app.save(Settings(name=name, port=80, engine="docker", created="", **changes))  # type: ignore[arg-type]
    if live:
        seal(app, *domains)
    return app


def seal(app: App, *domains: str) -> None:
    directory = app.state / "releases" / "1"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "release.json").write_text(json.dumps({"app": app.name, "domains": domains}))
    if not (app.state / "live").is_symlink():
        (app.state / "live").symlink_to("releases/1")


def test_a_name_belongs_to_its_app_while_the_app_is_down(root: Root) -> None:
    made(root, "victim", "victim.example", down=True)
    other = made(root, "other", live=False)
    with pytest.raises(EdgeError, match=r"the domain victim\.example is victim's"):
        claims.take(other, ["new.example", "victim.example"], nobody)
    assert claims.of(other) == ()


def test_a_claim_precedes_the_live_release_and_ends_with_it(root: Root) -> None:
    app, other = made(root, "app", live=False), made(root, "other", live=False)
    claims.take(app, ["a.example", "b.example"], nobody)
    with pytest.raises(EdgeError, match="is app's"):
        claims.take(other, ["b.example"], nobody)
    claims.settle(app, ["a.example"])
    claims.take(other, ["b.example"], nobody)
    assert (claims.of(app), claims.of(other)) == (("a.example",), ("b.example",))
    files.remove_tree(app.directory)
    claims.take(other, ["a.example"], nobody)


def test_a_new_release_gives_up_the_names_it_omits(root: Root) -> None:
    app = made(root, "app", "old.example", "kept.example")
    claims.take(app, ["kept.example", "new.example"], nobody)
    assert claims.of(app) == ("kept.example", "new.example", "old.example")
    seal(app, "kept.example", "new.example")
    claims.settle(app, ["kept.example", "new.example"])
    assert claims.of(app) == ("kept.example", "new.example")


@pytest.mark.parametrize("damaged", ["app.json", "claims.json"])
def test_a_damaged_file_releases_no_name(root: Root, damaged: str) -> None:
    victim, other = made(root, "victim", "victim.example"), made(root, "other", live=False)
    (victim.directory / damaged).write_text("{")
    with pytest.raises(EdgeError, match="is victim's"):
        claims.take(other, ["victim.example"], nobody)


@pytest.mark.parametrize(
    ("name", "held", "near"),
    [
        ("api.shop.example", "shop.example", True),
        ("a.b.shop.example", "shop.example", True),
        ("*.shop.example", "shop.example", True),
        ("*.example", "shop.example", True),
        ("*.shop.example", "api.shop.example", True),
        ("api.shop.example", "*.shop.example", True),
        ("shop.example", "*.shop.example", True),
        ("*.api.shop.example", "*.shop.example", True),
        ("*.shop.example", "*.api.shop.example", True),
        ("shop.example", "api.shop.example", False),
        ("blog.example", "shop.example", False),
        ("*.blog.example", "shop.example", False),
        ("noshop.example", "shop.example", False),
        ("*.op.example", "shop.example", False),
        ("shop.example", "example", False),
        ("a.localhost", "localhost", False),
        ("a.localhost", "*.localhost", False),
        ("*.localhost", "a.localhost", True),
        (":80", "shop.example", False),
        ("shop.example", ":80", False),
    ],
)  # fmt: skip
def test_overlapping_names_need_permission(root: Root, name: str, held: str, near: bool) -> None:
    assert claims.overlaps(name, held) is near
    made(root, "victim", *([] if held == ":80" else [held]))
    other = made(root, "other", live=False)
    if not near:
        claims.take(other, [name], nobody)
        return
    with pytest.raises(EdgeError, match="which is victim's") as refused:
        claims.take(other, [name], nobody)
    assert refused.value.hint.endswith(f"pushrod apps allow other domain:{name}")
    claims.take(other, [name], lambda app: app == "victim")
    assert claims.of(other) == (name,)


@pytest.mark.parametrize(
    ("allowed", "may"),
    [
        ("domain:api.shop.example", True),
        ("domain:*.shop.example", True),
        ("domain:shop.example", False),
        ("domain:*.api.shop.example", False),
    ],
)
def test_the_owner_can_allow_an_overlapping_name(root: Root, allowed: str, may: bool) -> None:
    made(root, "victim", "shop.example")
    other = made(root, "other", live=False, allowed=(allowed,))
    if may:
        claims.take(other, ["api.shop.example"], nobody)
    else:
        with pytest.raises(EdgeError):
            claims.take(other, ["api.shop.example"], nobody)


def test_nobody_can_allow_the_same_name(root: Root) -> None:
    made(root, "victim", "shop.example")
    other = made(root, "other", live=False, allowed=("domain:shop.example", "domain:*.example"))
    with pytest.raises(EdgeError, match="is victim's"):
        claims.take(other, ["shop.example"], lambda _app: True)


def test_an_app_keeps_the_names_it_already_has(root: Root) -> None:
    """As on an older host, where claims were not checked."""
    made(root, "victim", "shop.example")
    other = made(root, "other", "api.shop.example")
    claims.take(other, ["api.shop.example"], nobody)


def test_the_catch_all_name_of_a_port_belongs_to_one_app(root: Root) -> None:
    made(root, "victim", down=True)
    other = made(root, "other", live=False)
    with pytest.raises(EdgeError, match="would both answer to every name on port 80"):
        claims.take(other, claims.requested_names((), 80), nobody)
    claims.take(other, claims.requested_names((), 8000), nobody)


@pytest.mark.slow
def test_of_concurrent_claims_exactly_one_succeeds(root: Root) -> None:
    apps = [made(root, f"app{n}", live=False) for n in range(8)]
    begin, refused = threading.Barrier(len(apps)), []

    def take(app: App) -> None:
        begin.wait()
        try:
            claims.take(app, ["shop.example"], nobody)
        except EdgeError:
            refused.append(app.name)

    threads = [threading.Thread(target=take, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(apps) - 1
    assert [app.name for app in apps if claims.of(app)] == [a.name for a in apps if a.name not in refused]


def test_a_name_with_two_existing_owners_is_reported(root: Root) -> None:
    made(root, "one", "shop.example", "one.example")
    made(root, "two", "shop.example")
    assert [f.detail for f in claims.examine(root)] == ["shop.example belongs to one and two"]


def test_no_app_takes_the_domain_of_the_hosts_page(root: Root) -> None:
    root.host_settings_path.write_text('{"domain": "page.example"}')
    app = made(root, "other", live=False)
    with pytest.raises(EdgeError, match=r"page\.example is that of this host's page"):
        claims.take(app, ["new.example", "page.example"], lambda _: True)
    assert claims.of(app) == ()
    claims.take(app, ["x.page.example", "*.example"], lambda _: True)


def test_the_hosts_page_takes_no_domain_of_an_app(root: Root) -> None:
    made(root, "victim", "victim.example", down=True)
    claims.check_free(root, "page.example")
    claims.check_free(root, "")
    with pytest.raises(EdgeError, match=r"victim\.example is victim's"):
        claims.check_free(root, "victim.example")

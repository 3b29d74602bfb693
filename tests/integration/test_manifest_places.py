"""A compose file that is not at the top: named, chosen, kept, and read by Compose's own rules."""

import json

import pytest
import yaml

from devtools import apps
from devtools.apps import App, Machine, complaint

pytestmark = pytest.mark.integration

WEB = {**apps.WEB, "build": "..", "environment": {"PLACE": "deploy"}, "env_file": "settings.txt"}
COMPOSE = yaml.safe_dump({"services": {"web": WEB}})
FILES = {"app.py": apps.APP, "deploy/compose.yaml": COMPOSE, "deploy/settings.txt": "FROM_FILE=yes\n"}


@pytest.fixture
def shop(machine: Machine, request: pytest.FixtureRequest) -> App:
    name = f"s{abs(hash(request.node.name)) % 10**8}"
    return machine.app(name, FILES, push=False)


def variables(app: App, *names: str) -> dict[str, str]:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    result = json.loads(app.must("exec", "web", "--", "python", "-c", code))
    return {n: result.get(n, "") for n in names}


def test_a_compose_file_elsewhere_is_suggested_chosen_and_kept(shop: App) -> None:
    refused = complaint(shop.tree.push())
    assert refused.what == "no compose file at the top of the commit; there is deploy/compose.yaml"
    assert f"pushrod apps set {shop.name} file=deploy/compose.yaml" in refused.to_do

    assert shop.json("plan", "--file", "deploy/compose.yaml")["because"].startswith("web is the entry")
    assert complaint(shop.pushrod("plan")).what == refused.what  # a plan changes nothing

    shop.must("apps", "set", shop.name, "file=./deploy/compose.yaml")
    assert shop.settings["file"] == "deploy/compose.yaml"
    done = shop.tree.push()
    assert done.ok, done.err
    assert shop.get().status == 200
    assert variables(shop, "PLACE", "FROM_FILE") == {"PLACE": "deploy", "FROM_FILE": "yes"}
    (status,) = shop.json("status")
    assert status["file"] == "deploy/compose.yaml"
    assert "  compose file: deploy/compose.yaml\n" in shop.must("status")

    shop.must("restart")
    shop.must("rollback")
    assert shop.get().status == 200


def test_changing_the_compose_file_makes_a_release_of_the_same_commit(shop: App) -> None:
    both = yaml.safe_dump(
        {"services": {"web": {**WEB, "build": ".", "environment": {"PLACE": "top"}, "env_file": []}}}
    )
    shop.tree.commit({"compose.yaml": both}, "both")
    assert shop.tree.push().ok
    assert variables(shop, "PLACE") == {"PLACE": "top"}
    shop.must("up", "--app", shop.name, "--file", "deploy/compose.yaml")
    assert variables(shop, "PLACE") == {"PLACE": "deploy"}
    assert shop.live == 2
    shop.must("up", "--app", shop.name)
    assert shop.live == 2
    shop.must("apps", "set", shop.name, "file=")
    shop.must("deploy")
    assert variables(shop, "PLACE") == {"PLACE": "top"}


def test_a_compose_file_at_the_top_may_include_it(shop: App) -> None:
    shop.tree.commit({"compose.yaml": "include: [deploy/compose.yaml]\n"}, "include")
    done = shop.tree.push()
    assert done.ok, done.err
    assert variables(shop, "PLACE", "FROM_FILE") == {"PLACE": "deploy", "FROM_FILE": "yes"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"env_file": "../../outside.env"}, "`../../outside.env` is not a path inside the repository"),
        ({"env_file": "/etc/hostname"}, "`/etc/hostname` is not a path inside the repository"),
        ({"extends": {"file": "../../x.yaml", "service": "y"}}, "`../../x.yaml` is not a path inside the repository"),
        ({"build": "../.."}, "expected a directory inside the repository, found `..` (text)"),
    ],
)  # fmt: skip
def test_nothing_outside_the_repository_is_read(shop: App, changes: dict[str, object], what: str) -> None:
    shop.must("apps", "set", shop.name, "file=deploy/compose.yaml")
    text = yaml.safe_dump({"services": {"web": {**WEB, **changes}}})
    shop.tree.commit({"deploy/compose.yaml": text}, "outside")
    result = complaint(shop.tree.push())
    assert result.what == what


def test_a_link_is_not_accepted_as_a_compose_file(shop: App) -> None:
    (shop.tree.path / "deploy" / "linked.yaml").symlink_to("compose.yaml")
    shop.tree.commit({}, "a link")
    shop.must("apps", "set", shop.name, "file=deploy/linked.yaml")
    result = complaint(shop.tree.push())
    assert result.what.startswith("the commit has no file `deploy/linked.yaml`")
    assert f"pushrod apps set {shop.name} file=deploy/compose.yaml" in result.to_do


def test_secrets_replace_env_files_of_its_directory(shop: App) -> None:
    text = yaml.safe_dump({"services": {"web": {**WEB, "env_file": [".env"]}}})
    shop.tree.commit({"deploy/compose.yaml": text, "deploy/.env.example": "GREETING=\nOTHER=\n"}, "env")
    shop.must("apps", "set", shop.name, "file=deploy/compose.yaml")
    shop.must("secret", "set", "GREETING", stdin="hello")
    assert shop.json("plan")["lacking"] == ["OTHER"]
    done = shop.tree.push()
    assert done.ok, done.err
    assert variables(shop, "GREETING") == {"GREETING": "hello"}


@pytest.mark.parametrize(
    "setting", ["file=/etc/x.yaml", "file=../x.yaml", "port=80", "file", "file=a.yaml b=c"]
)
def test_invalid_settings_are_refused(shop: App, setting: str) -> None:
    done = shop.pushrod("apps", "set", shop.name, *setting.split())
    assert done.status == 12
    assert "deploy/compose.yaml" in complaint(done).to_do
    assert shop.settings["file"] == ""

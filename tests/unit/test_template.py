"""The template's page and its CI files: what can be checked without running them."""

import html.parser
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pushrod.cli import scaffold

FILES = scaffold.template_files("shop")
PAGE, SCRIPT = FILES["frontend/index.html"], FILES["frontend/shop.js"]


class Elements(html.parser.HTMLParser):
    """Every element of a page with its attributes, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style"):
            self.inline += data.strip()


@pytest.fixture(scope="module")
def elements() -> Elements:
    parsed = Elements()
    parsed.feed(PAGE)
    return parsed


def test_the_page_has_no_inline_code_or_styles(elements: Elements) -> None:
    assert elements.inline == ""
    for tag, attributes in elements.tags:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], (
            tag,
            attributes,
        )
    assert "innerHTML" not in SCRIPT
    assert ".style" not in SCRIPT


@pytest.mark.parametrize("stack", scaffold.STACKS)
def test_both_servers_of_the_page_give_it_the_same_policy(stack: str) -> None:
    files = scaffold.template_files("shop", stack)
    backend = yaml.safe_load(files["compose.yaml"])["services"]["backend"]
    policy = backend["x-pushrod"]["routes"]["/"]["headers"]["Content-Security-Policy"]
    assert f'add_header Content-Security-Policy "{policy}";' in files["docker/nginx/nginx.conf"]


def test_files_loaded_by_the_page_are_in_the_repository(elements: Elements) -> None:
    names = [a.get("src") or a.get("href") or "" for tag, a in elements.tags if tag in ("script", "link")]
    assert names
    for name in names:
        assert f"frontend{name}" in FILES, name


def test_elements_used_by_the_script_are_on_the_page(elements: Elements) -> None:
    ids = [a["id"] for _, a in elements.tags if "id" in a]
    assert len(ids) == len(set(ids))
    referenced = set(re.findall(r'\bby\("([\w-]+)"\)', SCRIPT))
    assert len(referenced) > 15
    assert referenced <= set(ids)


def test_every_field_has_a_label_and_every_region_a_name(elements: Elements) -> None:
    labels = {a.get("for") for tag, a in elements.tags if tag == "label"}
    ids = {a.get("id") for _, a in elements.tags}
    assert {a.get("id") for tag, a in elements.tags if tag == "input"} == labels
    for tag, attributes in elements.tags:
        if tag in ("section", "nav", "dialog"):
            assert attributes.get("aria-label") or attributes.get("aria-labelledby") in ids, (tag, attributes)
        if tag == "button":
            assert attributes.get("type"), attributes
    tags = [tag for tag, _ in elements.tags]
    assert {tag: tags.count(tag) for tag in ("main", "header", "footer", "h1")} == {
        "main": 1,
        "header": 1,
        "footer": 1,
        "h1": 1,
    }


def test_every_picture_named_in_the_script_exists() -> None:
    known = re.search(r"DRAWN = new Set\(\[(.*?)\]\)", SCRIPT)
    assert known
    drawn = set(re.findall(r'<symbol id="(\w+)"', FILES["frontend/pictures.svg"]))
    assert {*re.findall(r'"(\w+)"', known[1]), "parcel"} == drawn


@pytest.mark.slow
def test_the_script_has_valid_syntax() -> None:
    """Checks the syntax with this machine's JavaScript, if it has one."""
    try:
        argv = ["node", "--check", "--input-type=module"]
        done = subprocess.run(argv, input=SCRIPT, text=True, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        pytest.skip("no node on this machine")
    assert done.returncode == 0, done.stderr


# ---- CI ------------------------------------------------------------------------------------------------------------


def test_github_passes_secrets_only_to_the_deployment() -> None:
    workflow: dict[Any, Any] = yaml.safe_load(FILES[".github/workflows/deploy.yml"])
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert "secrets." not in yaml.safe_dump(jobs["test"])
    assert jobs["deploy"]["needs"] == "test"
    *_, last = jobs["deploy"]["steps"]
    assert set(last["env"]) == asked_for()
    assert "${{" not in last["run"], "an expression in a script is code of whoever wrote the value"
    assert jobs["deploy"]["steps"][0]["with"]["fetch-depth"] == 0


def test_gitlab_deploys_the_tested_commit_with_its_full_history() -> None:
    pipeline = yaml.safe_load(FILES[".gitlab-ci.yml"])
    assert pipeline["stages"] == ["test", "deploy"]
    assert pipeline["deploy"]["variables"]["GIT_DEPTH"] == "0"
    assert pipeline["deploy"]["script"] == ["sh deploy.sh"]


def test_jenkins_passes_the_variables_of_the_deploy_script() -> None:
    text = FILES["Jenkinsfile"]
    assert set(re.findall(r"[vV]ariable: '(\w+)'", text)) == asked_for()
    assert text.count("{") == text.count("}")
    assert text.index("'make test'") < text.index("'sh deploy.sh'")


def asked_for() -> set[str]:
    """The variables that deploy.sh requires."""
    return set(re.findall(r"\$\{(\w+):\?\}", FILES["deploy.sh"]))


def test_every_ci_runs_the_tests_of_the_makefile() -> None:
    for name in (".github/workflows/deploy.yml", ".gitlab-ci.yml", "Jenkinsfile"):
        assert "make test" in FILES[name]
    assert re.search(r"^test:", FILES["Makefile"], re.MULTILINE)


@pytest.mark.parametrize("missing", ["DEPLOY_HOST", "DEPLOY_KEY", "DEPLOY_HOST_KEY"])
def test_a_deployment_without_a_secret_names_the_missing_one(missing: str, tmp_path: Path) -> None:
    given = dict.fromkeys(asked_for() - {missing}, "x")
    script = tmp_path / "deploy.sh"
    script.write_text(FILES["deploy.sh"])
    env = {"PATH": "/usr/bin:/bin", **given}
    done = subprocess.run(
        ["/bin/sh", script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode != 0
    assert missing in done.stderr

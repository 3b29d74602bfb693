"""The documentation matches the program: every key, verb, option, exit code, variable, link and example."""

import ast
import functools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

import pushrod
from pushrod import manifest
from pushrod.adapters import compose
from pushrod.backups.catalogue import Listed
from pushrod.cli import cli
from pushrod.cli.export import Export
from pushrod.core.errors import Ending, Interrupted, ManifestError, PushrodError
from pushrod.core.values import Diagnostic, EngineName, Manifest
from pushrod.engines.kubernetes import keys as kubernetes_keys
from pushrod.manifest import grants, policy, routing
from pushrod.manifest.policy import Terms
from pushrod.observe import status
from pushrod.provisioning import gate
from pushrod.provisioning.changes import Change
from pushrod.releases import renewal
from pushrod.state.audit import Act
from pushrod.stores import variables
from pushrod.stores.kinds import Endpoint
from tests.unit import samples
from tools import keys as compose_keys

CHECKOUT = Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"
SOURCE = Path(pushrod.__file__).parent
TOP = ("CHANGELOG.md", "CONTRIBUTING.md", "README.md")
PAGES = sorted([*(CHECKOUT / name for name in TOP), *DOCS.glob("*.md")])
WHEREVER = {"--root", "--help"}  # documented once for all verbs, in their own section


@functools.cache
def page(name: str) -> str:
    return (DOCS / name).read_text()


def without_code(text: str) -> str:
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)


@functools.cache
def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next one of any level; empty if the heading does not exist."""
    result = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return result[2] if result else ""


# ---- the manifest ---------------------------------------------------------------------------------------------


def valid(place: tuple[str, ...]) -> list[str]:
    """The manifest's valid keys at a place, from its own error message for an invalid one."""
    service: dict[str, Any] = {"build": "."}
    document: dict[str, Any] = {"services": {"web": service}}
    spot = service if place[:1] == ("services",) else document
    for key in place[2:] if spot is service else place:
        spot = spot.setdefault(key, {})
    spot["zzzzzz"] = 1
    try:
        manifest.read(document)
    except ManifestError as refused:
        if refused.what == "unknown key `zzzzzz`":
            return refused.hint.removeprefix("valid here: ").split(", ")
    return []  # not a mapping of keys


def known(place: tuple[str, ...]) -> Iterator[str]:
    for key in valid(place):
        yield ".".join((*place, key)).replace(".routes./.", ".routes.<prefix>.")
        yield from known((*place, key) if key != "routes" else (*place, key, "/"))


KEYS = [
    *known(("x-pushrod",)),
    *(k.replace(".web.", ".<name>.") for k in known(("services", "web", "x-pushrod"))),
]


@pytest.mark.slow
def test_the_list_of_keys_is_complete() -> None:
    checked = {
        word.value
        for path in (SOURCE / "manifest").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "only"
        for argument in call.args
        for word in ast.walk(argument)
        if isinstance(word, ast.Constant)
    }
    assert {key.rpartition(".")[2] for key in KEYS} == checked | {*routing.PLAIN}


def test_every_key_is_documented() -> None:
    text = page("manifest.md")
    assert [key for key in KEYS if not section(text, f"`{key}`").strip()] == []
    with_its_parent = {key: (key, key.rpartition(".")[0]) for key in KEYS}
    assert [
        key
        for key, places in with_its_parent.items()
        if not any("Default:" in section(text, f"`{p}`") for p in places)
    ] == []


def test_every_documented_key_exists() -> None:
    described = [
        h.strip("`") for h in headings(page("manifest.md")) if h.startswith("`") and "x-pushrod" in h
    ]
    assert sorted(described) == sorted(KEYS)


def test_the_tables_of_compose_keys_are_generated_from_the_source() -> None:
    """To regenerate them: python -m tools.keys"""
    assert compose_keys.page() in page("manifest.md")


def test_the_table_of_limits_is_generated_from_the_source() -> None:
    assert compose_keys.limits() in page("host.md")


def test_the_tables_of_keys_in_a_cluster_are_generated_from_the_source() -> None:
    assert compose_keys.cluster() in page("cluster.md")


def test_every_key_of_ours_has_a_row_for_a_cluster_or_one_above_it() -> None:
    rows = kubernetes_keys.OURS
    assert [key for key in KEYS if not any(key == row or key.startswith(f"{row}.") for row in rows)] == []
    assert [row for row in rows if row not in KEYS] == []


def test_every_permission_of_the_owner_is_documented() -> None:
    text = section(page("manifest.md"), "What the host's owner must allow")
    assert [word for word, what in grants.WORDS.items() if f"| `{word}` | {what} |" not in text] == []


def test_the_error_for_an_unknown_key_on_the_page_is_current() -> None:
    with pytest.raises(ManifestError) as refused:
        manifest.read({"services": {"web": {"build": ".", "x-pushrod": {"helth": "/"}}}})
    error, text = refused.value, section(page("manifest.md"), "The `x-pushrod` keys")
    assert f"{error.what}\n  where:  {error.where}\n  to do:  {error.hint}\n" in text


def test_the_refusal_on_the_page_is_current() -> None:
    document = {"name": "shop", "services": {"web": {"privileged": True}}}
    with pytest.raises(ManifestError) as refused:
        policy.apply(document, Terms("docker", samples.LIMITS))
    error, text = refused.value, page("manifest.md")
    assert all(part in text for part in (error.what, error.where, error.hint))


# ---- the examples ---------------------------------------------------------------------------------------------

EXAMPLES = {
    "minimal.yaml": {"web": "entry"},
    "api-worker-stores.yaml": {"api": "entry", "worker": "worker", "postgres": "store", "redis": "store"},
    "nginx-in-front.yaml": {"nginx": "edge", "backend": "entry", "db": "store"},
    "two-entries.yaml": {"shop": "entry", "team": "worker"},
    "two-redis.yaml": {"web": "entry", "redis": "store", "cache": "store"},
    "domains.yaml": {"web": "entry", "postgres": "store"},
    "backups.yaml": {"web": "entry", "postgres": "store"},
    "tls.yaml": {"web": "entry"},
    "spring-boot.yaml": {"backend": "entry", "postgres": "store", "redis": "store"},
    "any-file.yaml": {"nginx": "entry", "shop": "worker", "migrate": "job", "db": "store"},
}
DOCKER_ALONE = {"any-file.yaml"}


def load(text: str, directory: Path, engine: EngineName = "embedded") -> Manifest:
    (directory / "compose.yaml").write_text(text)
    warnings: list[str] = []
    document = compose.load(directory, project="shop", variables={"A": "1"}, on_warning=warnings.append)
    assert not warnings
    document, notes = policy.apply(document, Terms(engine, samples.LIMITS))
    assert notes == ()
    return manifest.read(document, engine=engine, bases=compose.bases(document, directory))


def example(name: str, directory: Path) -> Manifest:
    text = (DOCS / "examples" / name).read_text()
    if name not in DOCKER_ALONE:
        load(text, directory, "docker")
        return load(text, directory)
    with pytest.raises(ManifestError, match="needs the Docker engine"):
        load(text, directory)
    return load(text, directory, "docker")


def test_every_example_is_tested_and_linked() -> None:
    files = {p.name for p in (DOCS / "examples").iterdir()}
    assert files == set(EXAMPLES)
    assert files == set(re.findall(r"\(examples/(.+?)\)", page("manifest.md")))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_the_documented_roles(name: str, tmp_path: Path) -> None:
    result = example(name, tmp_path)
    assert {s.name: s.role for s in result.services} == EXAMPLES[name]


@pytest.mark.slow
def test_the_example_of_two_entries_is_refused_without_a_role(tmp_path: Path) -> None:
    text = (DOCS / "examples" / "two-entries.yaml").read_text()
    with pytest.raises(ManifestError, match="two entries: shop and team") as refused:
        load(text.replace("role: entry", ""), tmp_path)
    assert refused.value.what in text
    assert refused.value.what in page("manifest.md")


@pytest.mark.slow
def test_the_example_with_an_nginx_needs_no_curl(tmp_path: Path) -> None:
    assert example("nginx-in-front.yaml", tmp_path).entry.health.path == "/healthz"


@pytest.mark.slow
def test_the_example_with_two_redis_stores_has_the_documented_variables(tmp_path: Path) -> None:
    result = example("two-redis.yaml", tmp_path)
    endpoints = [Endpoint(s.name, "redis", f"redis://{s.name}", "") for s in result.stores]
    given = variables.store_variables(endpoints)
    assert given == {"REDIS_URL": "redis://redis", "CACHE_URL": "redis://cache"}
    assert [n for n in result.notes if n.startswith("cache: `command` not used")]


@pytest.mark.slow
def test_the_yaml_blocks_of_the_readme_are_manifests(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```yaml\n(.*?)^```$", (CHECKOUT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert [load(b, tmp_path).entry.name for b in blocks] == ["backend"]


# ---- the command line -----------------------------------------------------------------------------------------


def verbs(group: click.Group, path: str = "pushrod") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


VERBS = dict(verbs(cli))
OPTIONS = [
    (verb, option, bool(parameter.help))
    for verb, command in VERBS.items()
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in (*parameter.opts, *parameter.secondary_opts)
    if option not in WHEREVER
]


def test_every_verb_is_documented() -> None:
    """Its section in docs/cli.md begins with its usage."""
    sections = {verb: section(page("cli.md"), f"`{verb}`").strip() for verb in VERBS}
    assert [verb for verb, text in sections.items() if not text.startswith(f"`{verb}")] == []


def test_every_option_is_documented() -> None:
    assert OPTIONS
    assert [
        (verb, option)
        for verb, option, has_help in OPTIONS
        if not has_help
        or not re.search(rf"(?<![\w-]){option}(?![\w-])", section(page("cli.md"), f"`{verb}`"))
    ] == []


def test_options_of_every_verb_are_documented_once() -> None:
    text = section(page("cli.md"), "Options of every verb")
    options = [*sorted(WHEREVER), "--app", *(o for p in cli.params for o in p.opts)]
    assert [o for o in options if not re.search(rf"`(pushrod )?{o}( NAME| DIRECTORY)?`", text)] == []


def test_every_verb_accepts_root_after_itself() -> None:
    """`new` makes files in a directory, and needs no root."""
    without = [v for v, c in VERBS.items() if not any("--root" in p.opts for p in c.params)]
    assert without == ["pushrod new"]


def test_every_documented_option_exists() -> None:
    for verb, command in VERBS.items():
        usage = section(page("cli.md"), f"`{verb}`").strip().splitlines()[0]
        real = {o for p in command.params if isinstance(p, click.Option) for o in p.opts}
        assert set(re.findall(r"(?<=\[)--?[a-z0-9-]+", usage)) <= real, verb


def test_every_documented_verb_exists() -> None:
    described = {h.strip("`") for h in headings(page("cli.md")) if h.startswith("`pushrod ")}
    assert described == set(VERBS)


def test_every_verb_used_on_a_page_exists() -> None:
    first_words = {verb.split()[1] for verb in VERBS}
    used = {p.name: set(re.findall(r"(?:`|\$ )pushrod ([a-z]+)", p.read_text())) for p in PAGES}
    assert {name: words - first_words for name, words in used.items() if words - first_words} == {}


def test_the_list_of_verbs_over_ssh_is_generated_from_the_source() -> None:
    """To regenerate them: python -m tools.keys"""
    assert compose_keys.over_ssh() in section(page("cli.md"), "Over SSH")


def test_the_verbs_that_read_have_json() -> None:
    """A key may ask for JSON of what it may read; `doctor` may repair."""
    with_json = {verb.removeprefix("pushrod ") for verb, option, _ in OPTIONS if option == "--json"}
    reading = {path for path, rule in gate.VERBS.items() if rule.read_only}
    assert with_json == reading | {
        "doctor",
        "host alarm list",
        "host backups list",
        "host init",
        "host keys list",
        "host limits",
        "host notify list",
    }


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("pushrod status", list[status.Status]),
        ("pushrod releases", list[status.Row]),
        ("pushrod doctor", list[Diagnostic]),
        ("pushrod db backups", list[Listed]),
        ("pushrod cert list", list[renewal.Row]),
        ("pushrod audit", list[Act]),
        ("pushrod host init", list[Change]),
        ("pushrod export kubernetes", Export),
    ],
)
def test_the_documented_json_matches_the_program(verb: str, kind: Any) -> None:
    block = re.search(r"```json\n(.*?)```", section(page("cli.md"), f"`{verb}`"), re.DOTALL)
    assert block, verb
    decoded = msgspec.json.decode(block[1], type=kind)
    assert json.loads(msgspec.json.encode(decoded)) == json.loads(block[1])  # nothing is missing either


def errors(root: type[PushrodError] = PushrodError) -> Iterator[type[PushrodError]]:
    yield root
    for kind in root.__subclasses__():
        yield from errors(kind)


def test_every_exit_code_is_documented() -> None:
    text = section(page("cli.md"), "Exit codes")
    kinds: list[type[Ending]] = [*errors(), Interrupted]
    assert [
        kind.__name__
        for kind in kinds
        if not re.search(rf"^\| {kind.exit_code} \| {kind.kind} \| \S", text, re.MULTILINE)
    ] == []


def test_every_documented_exit_code_exists() -> None:
    described = re.findall(r"^\| (\d+) \|", section(page("cli.md"), "Exit codes"), re.MULTILINE)
    wrong_call = CliRunner().invoke(cli, ["frobnicate"]).exit_code
    assert sorted(map(int, described)) == sorted(
        {0, wrong_call, *(e.exit_code for e in errors()), Interrupted.exit_code}
    )


def read_variables() -> set[str]:
    """The variables named PUSHROD_… in the source, except the one between supervisord and `launch`."""
    result = set()
    for path in SOURCE.rglob("*.py"):
        if SOURCE / "template" not in path.parents:
            strings = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
            result |= {s for s in strings if isinstance(s, str) and re.fullmatch(r"PUSHROD_[A-Z]+", s)}
    return result - {"PUSHROD_SPEC"}


@pytest.mark.slow
def test_every_variable_is_documented() -> None:
    given = section(page("manifest.md"), "What the app receives")
    described = section(page("cli.md"), "Environment variables") + given
    variables = read_variables()
    assert variables, "the source reads some"
    assert not [name for name in sorted(variables) if f"`{name}`" not in described]


# ---- the pages ------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """The anchor of a heading in rendered Markdown: lower case, no punctuation, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


LINKS = [
    (p, target)
    for p in PAGES
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(p.read_text()))
    if "://" not in target
]


@functools.cache
def anchors(path: Path) -> set[str]:
    return {anchor(h) for h in headings(path.read_text())}


def leads_somewhere(source: Path, target: str) -> bool:
    name, _, fragment = target.partition("#")
    path = (source.parent / name).resolve() if name else source
    return path.is_file() and (not fragment or fragment in anchors(path))


def test_every_link_has_a_target() -> None:
    assert LINKS
    assert [(p.name, target) for p, target in LINKS if not leads_somewhere(p, target)] == []


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (CHECKOUT / "README.md").read_text()
    assert {p.name for p in DOCS.glob("*.md")} == set(re.findall(r"\(docs/([\w-]+\.md)\)", readme))


def test_the_readme_stays_short() -> None:
    assert len((CHECKOUT / "README.md").read_text().splitlines()) <= 120


def test_a_page_begins_with_its_purpose() -> None:
    beginnings = {p.name: "\n".join(p.read_text().splitlines()[:3]) for p in PAGES}
    assert [
        name for name, text in beginnings.items() if not re.match(r"# .*\n\n[^\W_]|# .*\n\n`", text)
    ] == []


def test_the_script_in_the_operations_page_works(tmp_path: Path) -> None:
    """It splits a store's address in a real shell, and passes on every part of it."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page("operations.md"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    script = tmp_path / "as-app.sh"
    script.write_text(blocks[0])
    shell = shutil.which("sh")
    assert shell
    from pushrod.adapters import postgres
    from pushrod.system import processes

    url = postgres.url("shop_app", "0123abcd", 28017, "shop")
    done = processes.run([shell, script, "env"], env={"DATABASE_URL": url, "PATH": "/usr/bin:/bin"})
    given = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {k: v for k, v in given.items() if k.startswith("PG")} == {
        "PGUSER": "shop_app",
        "PGPASSWORD": "0123abcd",
        "PGHOST": "127.0.0.1",
        "PGPORT": "28017",
        "PGDATABASE": "shop",
    }


def test_every_row_of_the_threat_model_names_an_existing_test() -> None:
    """In each table of promises the last column names tests by file and function, and each of them exists."""
    text = (DOCS / "security.md").read_text()
    held = text.partition("## Protections")[2].partition("## Numbers")[0]
    rows = [line for line in held.splitlines() if line.startswith("| ") and not line.startswith("| attack |")]
    assert len(rows) > 25
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row.rpartition(" | ")[2])
        assert named, row
        for path, function in named:
            source = (CHECKOUT / path).read_text()
            assert not function or re.search(rf"^ *def {function}\(", source, re.MULTILINE), (path, function)

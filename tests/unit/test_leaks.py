"""What may not be pushed, in real commits. No sample stands here whole: this file is pushed too."""

import os
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from hypothesis import given, settings
from hypothesis import strategies as st

from pushrod import leaks
from pushrod.errors import RepositoryError
from pushrod.leaks import is_environment_file
from tests.conftest import Tree

WORD = string.ascii_letters + string.digits


def some(alphabet: str, length: int) -> str:
    return "".join(random.choices(alphabet, k=length))


SAMPLES = {
    "PrivateKeyDetector": ["-----BEGIN" + " PRIVATE KEY-----", "PuTTY-User" + "-Key-File-2: ssh-rsa"],
    "AWSKeyDetector": [
        "AK" + "IA" + some(string.ascii_uppercase, 16),
        f'aws_secret_access_key = "{some(WORD, 40)}"',
        f"AWS_SECRET_KEY: '{some(WORD, 40)}'",
    ],
    "GitHubTokenDetector": [f"gh{kind}" + "_" + some(WORD, 36) for kind in "pousr"],
    "GitLabTokenDetector": ["glp" + "at-" + some(WORD, 20), "GR13" + "48941" + some(WORD, 20)],
    "SlackDetector": [
        "xo" + "xb-" + some(string.digits, 12) + "-" + some(WORD, 24),
        "https://hooks."
        + "slack.com/services/T"
        + some(WORD, 8)
        + "/B"
        + some(WORD, 8)
        + "/"
        + some(WORD, 24),
    ],
    "StripeDetector": ["sk_" + "live_" + some(WORD, 24), "rk_" + "live_" + some(WORD, 24)],
    "SendGridDetector": ["SG" + "." + some(WORD, 22) + "." + some(WORD, 43)],
    "NpmDetector": ["//registry.example.com/:_auth" + "Token=npm_" + some(WORD, 36)],
    "PypiTokenDetector": ["pypi-" + "AgEIcHlwaS5vcmc" + some(WORD, 80)],
}
TOKEN = SAMPLES["GitHubTokenDetector"][0]
REFUSED = "the commit holds what must not be in Git"


def found(tree: Tree) -> list[str]:
    """What is found in a commit of everything there is now, one string each."""
    commit = tree.commit()
    try:
        leaks.check(tree.path, commit)
    except RepositoryError as e:
        assert e.where == f"commit {commit[:7]}"
        assert e.what.startswith(f"{REFUSED}: ")
        return e.what.removeprefix(f"{REFUSED}: ").split("; ")
    return []


# ---- environment files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [".env", "backend/.env", ".env.production", ".env.local", "a/.env.example.local", ".env.bak"]
)
def test_an_environment_file_with_values(path: str) -> None:
    assert is_environment_file(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        ".env.production.example",
        ".env.sample",
        "a/.env.template",
        ".env.dist",
        "env",
        ".envrc",
        "x.env",
        ".env/bin/python",
    ],
)
def test_what_is_no_environment_file_with_values(path: str) -> None:
    assert not is_environment_file(path)


def test_environment_files_are_refused_and_examples_are_not(tree: Tree) -> None:
    for name in (".env", "deep/er/.env.production", ".env.example"):
        tree.write(name, "NAME=value\n")
    (tree.path / "link").mkdir()
    (tree.path / "link" / ".env").symlink_to("/etc/hostname")
    said = [
        f"{p}: an environment file with its values" for p in (".env", "deep/er/.env.production", "link/.env")
    ]
    assert sorted(found(tree)) == sorted(said)


def test_the_error_says_what_to_do(tree: Tree) -> None:
    commit = tree.commit("one", **{".env": "A=1"})
    with pytest.raises(RepositoryError) as e:
        leaks.check(tree.path, commit)
    for words in (
        "git rm --cached",
        ".gitignore",
        "pushrod secret import",
        ".secrets.baseline",
        "pragma: allowlist",
    ):
        assert words in e.value.hint


def test_what_an_older_commit_held_does_not_stop_a_later_one(tree: Tree) -> None:
    tree.commit("one", **{".env": "A=1"})
    (tree.path / ".env").unlink()
    assert found(tree) == []


# ---- keys and tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
def test_a_real_private_key_is_refused(form: str, tree: Tree, tmp_path: Path) -> None:
    key = tmp_path / "key"
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", form, "-N", "", "-f", str(key)]
    try:
        subprocess.run(command, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("no ssh-keygen here")
    tree.write("deploy/id", key.read_text())
    tree.write("deploy/id.pub", key.with_name("key.pub").read_text())
    assert found(tree) == ["deploy/id line 1: Private Key"]


def test_there_is_a_sample_for_every_detector() -> None:
    assert set(SAMPLES) == set(leaks._DETECTORS)


@pytest.mark.parametrize("detector", SAMPLES)
def test_what_each_detector_looks_for_is_refused_wherever_it_is(detector: str, tree: Tree) -> None:
    kinds = {c.__name__: kind for kind, c in get_mapping_from_secret_type_to_class().items()}
    for n, sample in enumerate(SAMPLES[detector]):
        tree.write(f"file{n}.py", f"first\nvalue = {sample}\n")
    expected = [f"file{n}.py line 2: {kinds[detector]}" for n in range(len(SAMPLES[detector]))]
    assert sorted(found(tree)) == expected


PATTERNS = [
    (c.__name__, pattern)
    for c in get_mapping_from_secret_type_to_class().values()
    if c.__name__ in leaks._DETECTORS
    for pattern in c.denylist  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("detector, pattern", PATTERNS, ids=[f"{d}-{n}" for n, (d, _) in enumerate(PATTERNS)])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_find_is_without_the_words_that_are_looked_for_first(
    detector: str, pattern: object, data: st.DataObject
) -> None:
    ascii_text = st.characters(codec="ascii", min_codepoint=32)
    text = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=ascii_text))  # type: ignore[call-overload]
    assert list(leaks._suspicious(text)), f"{detector} would find {text!r}, and it would not be read"


def test_no_value_is_shown(tree: Tree) -> None:
    tree.write("a", f"x = {TOKEN}\n")
    commit = tree.commit()
    with pytest.raises(RepositoryError) as e:
        leaks.check(tree.path, commit)
    assert TOKEN not in e.value.what + e.value.hint


def test_a_clean_tree_that_uses_the_words_is_not_refused(tree: Tree) -> None:
    tree.write(
        "README.md", "Never commit a PRIVATE KEY, an AKIA… or a ghp_… token; mapbox-gl-js, SG.x, pypi-x.\n"
    )
    tree.write("a.py", 'aws_key = os.environ["AWS_SECRET_ACCESS_KEY"]\n')
    assert found(tree) == []


# ---- files of every kind --------------------------------------------------------------------------------------

ODD = ["a b", "ä", "new\nline", "ta\tb", 'quo"te', "-e", "HEAD:x", "back\\slash", "deep/er"]


def test_a_token_is_found_whatever_the_file_is_called(tree: Tree) -> None:
    for name in ODD:
        tree.write(name, TOKEN)
    assert sorted(found(tree)) == sorted(f"{name} line 1: GitHub Token" for name in ODD)


def test_a_token_is_found_in_a_file_whose_name_is_no_text(tree: Tree) -> None:
    (tree.path / os.fsdecode(b"\xff.txt")).write_text(TOKEN)
    assert found(tree) == ["\N{REPLACEMENT CHARACTER}.txt line 1: GitHub Token"]


def test_a_key_that_is_marked_binary_is_found(tree: Tree) -> None:
    tree.write(".gitattributes", "*.pem binary\n*.key -diff\n")
    for name in ("a.pem", "a.key"):
        tree.write(name, SAMPLES["PrivateKeyDetector"][0])
    assert sorted(found(tree)) == ["a.key line 1: Private Key", "a.pem line 1: Private Key"]


def test_a_binary_file_and_a_very_big_one_are_not_read(tree: Tree) -> None:
    tree.write("image.png", b"\x89PNG\0\0" + TOKEN.encode())
    tree.write("dump.sql", "x\n" * 500_001 + TOKEN)
    assert found(tree) == []


def test_a_token_in_text_that_is_not_utf_8_is_found(tree: Tree) -> None:
    tree.write("latin", b"caf\xe9 " + TOKEN.encode())
    assert found(tree) == ["latin line 1: GitHub Token"]


@pytest.mark.parametrize("before", [0, 199, 3_900, 50_000])
@pytest.mark.parametrize("filler", ["x xox ", "//a/", "aws key ", "gl"])
def test_a_token_is_found_in_a_line_of_any_length(before: int, filler: str, tree: Tree) -> None:
    """Also among words that make it worth reading, which would take minutes if such a line were read whole."""
    tree.write("bundle.js", (filler * 50_000)[:before] + f" {TOKEN} " + (filler * 50_000)[:200_000])
    assert found(tree) == ["bundle.js line 1: GitHub Token"]


def test_one_line_is_told_once_for_each_kind(tree: Tree) -> None:
    two = f"{TOKEN} {SAMPLES['StripeDetector'][0]}"
    tree.write("a", f"{two}\r\n\f\n{two}\n")
    assert found(tree) == [
        "a line 1: GitHub Token",
        "a line 1: Stripe Access Key",
        "a line 3: GitHub Token",
        "a line 3: Stripe Access Key",
    ]


# ---- what is no secret ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", ["# {}", "// {}", "/* {} */", "-- {}", "<!-- {} -->"])
def test_a_comment_on_the_line_allows_it(comment: str, tree: Tree) -> None:
    pragma = comment.format("pragma: allowlist " + "secret")
    tree.write("a", f"x = {TOKEN}  {pragma}\nx = {TOKEN}\n")
    assert found(tree) == ["a line 2: GitHub Token"]


def test_a_baseline_made_by_the_tool_allows_what_is_in_it(tree: Tree) -> None:
    tree.write("a.txt", f"x = {TOKEN}\n")
    tree.git("add", "--all")
    scan = [sys.executable, "-m", "detect_secrets", "scan", "a.txt"]
    done = subprocess.run(scan, cwd=tree.path, check=True, capture_output=True, text=True, timeout=60)
    tree.write(".secrets.baseline", done.stdout)
    assert found(tree) == []
    tree.write("b.txt", f"x = {TOKEN}\n")
    tree.write("a.txt", f"x = {TOKEN}\ny = {SAMPLES['GitHubTokenDetector'][1]}\n")
    assert found(tree) == ["a.txt line 2: GitHub Token", "b.txt line 1: GitHub Token"]


def test_a_baseline_in_a_directory_below_allows_nothing(tree: Tree) -> None:
    tree.write("below/.secrets.baseline", f'{{"results": "{TOKEN}"}}')
    assert found(tree) == ["below/.secrets.baseline line 1: GitHub Token"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"results": []}', '{"results": {"a": [{}]}}', "\0"])
def test_a_baseline_that_is_none_is_an_error(content: str, tree: Tree) -> None:
    tree.write("a.txt", TOKEN)
    tree.write(".secrets.baseline", content)
    commit = tree.commit()
    with pytest.raises(RepositoryError, match="not a detect-secrets baseline") as e:
        leaks.check(tree.path, commit)
    assert e.value.where == ".secrets.baseline"

"""What may not be pushed, in real commits. No sample stands here whole: this file is pushed too."""

import os
import random
import string
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from hypothesis import given, settings
from hypothesis import strategies as st

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from pushrod.releases import secret_scan
from pushrod.releases.secret_scan import is_environment_file
from tests.conftest import Tree

WORD = string.ascii_letters + string.digits


def some(alphabet: str, length: int) -> str:
    return "".join(random.choices(alphabet, k=length))


KEY = "-----BEGIN" + " PRIVATE KEY-----\n" + some(WORD + "+/", 64) + "\n-----END" + " PRIVATE KEY-----"
SAMPLES = {
    "PrivateKeyDetector": [KEY, "PuTTY-User" + "-Key-File-2: ssh-rsa"],
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
REFUSED = "the commit contains what must not be in Git"


def found(tree: Tree) -> list[str]:
    """What is found in a commit of everything there is now, one string each."""
    commit = tree.commit()
    try:
        secret_scan.check(tree.path, commit)
    except RepositoryError as e:
        assert e.where == f"commit {commit[:7]}"
        assert e.what.startswith(f"{REFUSED}: ")
        return e.what.removeprefix(f"{REFUSED}: ").split("; ")
    return []


# ---- environment files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [".env", "backend/.env", ".env.production", ".env.local", "a/.env.dev.local", ".env.bak", ".env.keys"],
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
        ".env.dev-sample",
        ".env.prod_example",
        "docker/.env.test-template",
        "a/.env.example.local",
        ".env.sample.docker",
        ".env.example.txt",
        ".env.vault",
        ".env.production.encrypted",
        "templates/.env.j2",
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
    commit = tree.commit("one", **{".env": "A=1", "my app/.env": "B=2"})
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit)
    assert "git rm --cached .env 'my app/.env' && git commit --amend --no-edit; " in e.value.hint
    assert "pushrod secret import .env; pushrod secret import 'my app/.env'; " in e.value.hint
    commit = tree.commit("two", key="-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n")
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit)
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


PLUGINS: Mapping[str, Any] = get_mapping_from_secret_type_to_class()


def test_there_is_a_sample_for_every_detector() -> None:
    assert set(SAMPLES) == set(secret_scan._DETECTORS)


@pytest.mark.parametrize("detector", SAMPLES)
def test_what_each_detector_looks_for_is_refused_wherever_it_is(detector: str, tree: Tree) -> None:
    kinds = {c.__name__: kind for kind, c in PLUGINS.items()}
    for n, sample in enumerate(SAMPLES[detector]):
        tree.write(f"file{n}.py", f"first\nvalue = {sample}\n")
    expected = [f"file{n}.py line 2: {kinds[detector]}" for n in range(len(SAMPLES[detector]))]
    assert sorted(found(tree)) == expected


PATTERNS = [
    (c.__name__, pattern)
    for c in PLUGINS.values()
    if c.__name__ in secret_scan._DETECTORS
    for pattern in c.denylist
]


@pytest.mark.slow
@pytest.mark.parametrize("detector, pattern", PATTERNS, ids=[f"{d}-{n}" for n, (d, _) in enumerate(PATTERNS)])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_find_is_without_the_words_that_are_looked_for_first(
    detector: str, pattern: object, data: st.DataObject
) -> None:
    ascii_text = st.characters(codec="ascii", min_codepoint=32)
    text = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=ascii_text))  # type: ignore[call-overload]
    assert list(secret_scan._suspicious(text)), f"{detector} would find {text!r}, and it would not be read"


def test_no_value_is_shown(tree: Tree) -> None:
    tree.write("a", f"x = {TOKEN}\n")
    commit = tree.commit()
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit)
    assert TOKEN not in e.value.what + e.value.hint


def test_a_clean_tree_that_uses_the_words_is_not_refused(tree: Tree) -> None:
    tree.write(
        "README.md", "Never commit a PRIVATE KEY, an AKIA… or a ghp_… token; mapbox-gl-js, SG.x, pypi-x.\n"
    )
    tree.write("a.py", 'aws_key = os.environ["AWS_SECRET_ACCESS_KEY"]\n')
    assert found(tree) == []


# ---- false alarms ---------------------------------------------------------------------------------------------

BEGIN, END = ("-----" + word + " RSA PRIVATE " + "KEY-----" for word in ("BEGIN", "END"))
BODY = some(WORD + "+/", 64)
SOURCES = [
    f'if data.startswith("{BEGIN}"):',
    f"raise ValueError('{BEGIN} expected')",
    f"{BEGIN}\n...\n{END}",
    f"{BEGIN}\nMIIEpAIBAAKCAQEA{'A' * 48}...\n{END}",
    f"{BEGIN}\n{'x' * 64}\n{END}",
    f"{BEGIN}\n<the key>\n{END}",
    f'key: "{BEGIN}\\n$KEY\\n{END}"',
    f"{BEGIN}EXAMPLE{BODY}{END}",
    "AK" + "IAIOSFODNN7EXAMPLE",
    "AS" + "IA" + "X" * 16,
    "const AS" + "IAPACIFIC_AND_SOUTH_EAST",
    "aws_secret_access_key = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEX" + "AMPLEKEY'",
    "aws-sdk key: '" + some("0123456789abcdef", 40) + "'",
    "gh" + "p_" + "x" * 36,
    "gl" + "pat-" + "x" * 20,
    "xo" + "xb-" + "1234-5678-abc",
    "https://hooks." + "slack.com/services/T00000000/B00000000/" + "X" * 24,
    "sk_" + "live_" + "x" * 24,
    "//registry.example.com/:_auth" + "Token=npm_${NPM_TOKEN}",
]


@pytest.mark.parametrize("text", SOURCES, ids=range(len(SOURCES)))
def test_examples_and_code_that_speaks_of_keys_are_no_secret(text: str) -> None:
    assert list(secret_scan.scan(text.encode())) == []


def base64(rng: random.Random, size: int, width: int = 0) -> str:
    """Data in base64, with the words that keys begin with and capitals after them far more often than by chance."""
    parts = []
    for _ in range(size // 64):
        parts.append("".join(rng.choices(WORD + "+/", k=rng.randrange(1, 64))))
        parts.append(rng.choice(["AB" + "IA", "AK" + "IA", "AS" + "IA", "AC" + "CA", "A3" + "TX", "SG"]))
        parts.append("".join(rng.choices(string.ascii_uppercase + string.digits, k=rng.randrange(10, 24))))
    text = "".join(parts)
    return "\n".join(text[i : i + width] for i in range(0, len(text), width)) if width else text


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_no_key_is_found_in_data(seed: int) -> None:
    """Fonts and images in style sheets, scripts and JSON, in one line or wrapped as MIME and PEM do."""
    rng = random.Random(seed)
    for shape in (
        "@font-face{src:url(data:font/woff2;base64,%s)}",
        'window.pdfMake.vfs={"Roboto.ttf":"%s"};',
        "//# sourceMappingURL=data:application/json;base64,%s\n",
    ):
        assert list(secret_scan.scan((shape % base64(rng, 20_000)).encode())) == []
    for width in (64, 76):
        text = base64(rng, 20_000, width)
        assert list(secret_scan.scan(text.encode())) == []
        assert (
            list(secret_scan.scan(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----".encode()))
            == []
        )


def ordinary(count: int) -> list[bytes]:
    """Files as repositories have them, but for keys: of the packages that are installed here, the same each time."""
    packages = Path(sysconfig.get_path("purelib"))
    found = sorted(
        p for p in packages.rglob("*") if p.is_file() and p.suffix not in (".so", ".pyc", ".pem", ".key")
    )
    chosen = random.Random(1).sample(found, min(count, len(found)))
    return [p.read_bytes() for p in chosen if p.stat().st_size <= 200_000]


@pytest.mark.slow
def test_there_is_no_false_alarm_in_ordinary_files_and_each_planted_key_is_found() -> None:
    files = ordinary(2500)
    assert len(files) > 2000
    rng = random.Random(2)
    planted = [sample for samples in SAMPLES.values() for sample in samples]
    for raw in files:
        assert list(secret_scan.scan(raw)) == []
    for raw in rng.sample([raw for raw in files if b"\0" not in raw], 200):
        lines = raw.split(b"\n")
        place = rng.randrange(len(lines) + 1)
        lines.insert(place, f'    value: "{rng.choice(planted)}",'.encode())
        assert [number for _, _, number in secret_scan.scan(b"\n".join(lines))] == [place + 1]


KEYS = [
    f"{BEGIN}\n{BODY}\n{BODY}\n{END}",
    f"{BEGIN}\r\n{BODY}\r\n{END}\r\n",
    f"KEY='{BEGIN}\\n{BODY}\\n{END}\\n'",
    f'{{"private_key": "{BEGIN}\\n{BODY}\\n{END}\\n"}}',
    f"{BEGIN}{BODY}{END}",
    f'      "{BEGIN}\\n" +\n      "{BODY}\\n" +\n      "{END}"',
    f"# {BEGIN}\n# {BODY}\n# {END}",
    f"key: |\n  {BEGIN}\n  {BODY}\n  {END}",
    f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,7A\n\n{BODY}\n{END}",
    "-----BEGIN PGP PRIVATE " + f"KEY BLOCK-----\nVersion: GnuPG v1\n\n{BODY}\n",
]


@pytest.mark.parametrize("text", KEYS, ids=range(len(KEYS)))
def test_a_key_is_found_in_every_form_it_is_kept_in(text: str) -> None:
    assert [(kind, number) for kind, _, number in secret_scan.scan(text.encode())][:1] in (
        [("Private Key", 1)],
        [("Private Key", 2)],
    )


@pytest.mark.parametrize(
    "shape",
    [
        "{}",
        "key={}",
        "sqs://{}:secret@",
        "X-Amz-Credential={}%2F20260101%2Fus-east-1",
        "Credential={}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
        '{{"k":"{}","r":1}}',
        "a,{},b",
    ],
)
def test_an_access_key_is_found_in_what_stands_around_it(shape: str) -> None:
    key = "AK" + "IA" + some(string.ascii_uppercase + "234567", 16)
    assert [kind for kind, _, _ in secret_scan.scan(shape.format(key).encode())] == ["AWS Access Key"]


# ---- bounds ---------------------------------------------------------------------------------------------------


def test_a_file_is_read_once_for_all_its_paths_and_an_error_has_an_end(tree: Tree) -> None:
    for n in range(50):
        tree.write(f"{n:02}.txt", TOKEN)
    commit = tree.commit()
    with pytest.raises(RepositoryError, match="and 30 more") as e:
        secret_scan.check(tree.path, commit)
    assert e.value.what.count("GitHub Token") == 20


def test_what_has_been_looked_through_is_not_read_again(tree: Tree) -> None:
    tree.write("a", TOKEN)
    before = {blob.oid for blob in git.tree(tree.path, tree.commit())}
    tree.write("b", SAMPLES["StripeDetector"][0])
    commit = tree.commit()
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit, known=before)
    assert e.value.what == f"{REFUSED}: b line 1: Stripe Access Key"


def test_looking_for_secrets_ends_in_time() -> None:
    line = f"x = '{'ab' * 10}' aws key '{'0' * 40}'\n".encode()
    with pytest.raises(RepositoryError, match="took longer"):
        list(secret_scan.scan(line * 100, deadline=0.0))


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
        tree.write(name, KEY)
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
@pytest.mark.slow
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


@pytest.mark.slow
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
        secret_scan.check(tree.path, commit)
    assert e.value.where == ".secrets.baseline"

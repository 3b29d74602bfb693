"""What may not be pushed, in real commits. No sample stands here whole: this file is pushed too."""

import hashlib
import json
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


def secrets_in(tree: Tree) -> list[str]:
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
    [
        ".env",
        "backend/.env",
        ".env.production",
        ".env.local",
        "a/.env.dev.local",
        ".env.bak",
        ".env.keys",
        ".env-prod",
        ".env_prod",
        ".ENV",
        ".Env.Local",
        ".env~",
        ".env.prod~",
        ".env.1",
    ],
)
def test_env_files_are_recognized(path: str) -> None:
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
        ".env.default",
        ".env.local.stub",
        ".env.md",
        ".env.exemple",
        ".env.ejemplo",
        ".env.beispiel",
        ".env.dummy",
        ".env.demo",
        ".env.example1",
        ".env.production.sample2",
        ".env.sample~",
        ".env-example",
        ".ENV.EXAMPLE",
        ".env.gitkeep",
        ".env.d.ts",
        ".env.ts",
        ".env.js",
        ".envoy.yaml",
    ],
)
def test_other_files_are_not_env_files(path: str) -> None:
    assert not is_environment_file(path)


def test_env_files_are_refused_and_examples_are_accepted(tree: Tree) -> None:
    for name in (".env", "deep/er/.env.production", ".env.example"):
        tree.write(name, "NAME=value\n")
    (tree.path / "link").mkdir()
    (tree.path / "link" / ".env").symlink_to("/etc/hostname")
    message = [
        f"{p}: an environment file with its values" for p in (".env", "deep/er/.env.production", "link/.env")
    ]
    assert sorted(secrets_in(tree)) == sorted(message)


def test_the_error_contains_the_commands_to_run(tree: Tree) -> None:
    commit = tree.commit("one", **{".env": "A=1", "my app/.env": "B=2"})
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit)
    assert "git rm --cached .env 'my app/.env' && git commit --amend --no-edit; " in e.value.hint
    assert "pushrod secret import .env; pushrod secret import 'my app/.env'; " in e.value.hint
    commit = tree.commit("two", key="-----BEGIN" + " PRIVATE KEY-----\n" + some(WORD, 32) + "\n")
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


def test_a_secret_in_an_older_commit_does_not_block_a_later_one(tree: Tree) -> None:
    tree.commit("one", **{".env": "A=1"})
    (tree.path / ".env").unlink()
    assert secrets_in(tree) == []


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
    assert secrets_in(tree) == ["deploy/id line 1: Private Key"]


PLUGINS: Mapping[str, Any] = get_mapping_from_secret_type_to_class()


def test_there_is_a_sample_for_every_detector() -> None:
    assert set(SAMPLES) == set(secret_scan._DETECTORS)


@pytest.mark.parametrize("detector", SAMPLES)
def test_each_detector_refuses_its_samples_in_any_file(detector: str, tree: Tree) -> None:
    kinds = {c.__name__: kind for kind, c in PLUGINS.items()}
    for n, sample in enumerate(SAMPLES[detector]):
        tree.write(f"file{n}.py", f"first\nvalue = {sample}\n")
    expected = [f"file{n}.py line 2: {kinds[detector]}" for n in range(len(SAMPLES[detector]))]
    assert sorted(secrets_in(tree)) == expected


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
def test_every_match_contains_one_of_the_keywords(
    detector: str, pattern: object, data: st.DataObject
) -> None:
    ascii_text = st.characters(codec="ascii", min_codepoint=32)
    text = data.draw(st.from_regex(pattern, fullmatch=True, alphabet=ascii_text))  # type: ignore[call-overload]
    assert list(secret_scan._suspicious(text)), f"{detector} would find {text!r}, and it would not be read"


def test_the_error_shows_no_secret_value(tree: Tree) -> None:
    tree.write("a", f"x = {TOKEN}\n")
    commit = tree.commit()
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit)
    assert TOKEN not in e.value.what + e.value.hint


def test_files_that_only_mention_keywords_are_accepted(tree: Tree) -> None:
    tree.write(
        "README.md", "Never commit a PRIVATE KEY, an AKIA… or a ghp_… token; mapbox-gl-js, SG.x, pypi-x.\n"
    )
    tree.write("a.py", 'aws_key = os.environ["AWS_SECRET_ACCESS_KEY"]\n')
    assert secrets_in(tree) == []


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
    f"{BEGIN}\n{WORD}\n{END}",
    f"as in:\n{BEGIN}\nMIIEpAIBAAKCAQEA\n{END}",
    "-----BEGIN CERTIFICATE-----\n"
    + f"{BODY}\n" * 3
    + "AK"
    + "IA"
    + some(string.ascii_uppercase, 16)
    + "==\n",
]


@pytest.mark.parametrize("text", SOURCES, ids=range(len(SOURCES)))
def test_examples_and_code_about_keys_are_accepted(text: str) -> None:
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
def test_base64_data_is_not_mistaken_for_a_key(seed: int) -> None:
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
    result = sorted(
        p for p in packages.rglob("*") if p.is_file() and p.suffix not in (".so", ".pyc", ".pem", ".key")
    )
    chosen = random.Random(1).sample(result, min(count, len(result)))
    return [p.read_bytes() for p in chosen if p.stat().st_size <= 200_000]


@pytest.mark.slow
def test_ordinary_files_give_no_false_positive_and_planted_keys_are_found() -> None:
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
    "PuTTY-User" + "-Key-File-3: ssh-ed25519\nEncryption: none\n",
    "-----BEGIN PGP PRIVATE " + f"KEY BLOCK-----\nVersion: GnuPG v1\n\n{BODY}\n",
]


@pytest.mark.parametrize("text", KEYS, ids=range(len(KEYS)))
def test_a_private_key_is_found_in_every_storage_format(text: str) -> None:
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
def test_an_aws_access_key_is_found_in_any_context(shape: str) -> None:
    key = "AK" + "IA" + some(string.ascii_uppercase + "234567", 16)
    assert [kind for kind, _, _ in secret_scan.scan(shape.format(key).encode())] == ["AWS Access Key"]


# ---- bounds ---------------------------------------------------------------------------------------------------


def test_a_file_is_read_once_for_all_its_paths_and_the_error_is_bounded(tree: Tree) -> None:
    for n in range(50):
        tree.write(f"{n:02}.txt", TOKEN)
    commit = tree.commit()
    with pytest.raises(RepositoryError, match="and 30 more") as e:
        secret_scan.check(tree.path, commit)
    assert e.value.what.count("GitHub Token") == 20


def test_known_files_are_not_scanned_again(tree: Tree) -> None:
    tree.write("a", TOKEN)
    before = {blob.oid for blob in git.tree(tree.path, tree.commit())}
    tree.write("b", SAMPLES["StripeDetector"][0])
    commit = tree.commit()
    with pytest.raises(RepositoryError) as e:
        secret_scan.check(tree.path, commit, known=before)
    assert e.value.what == f"{REFUSED}: b line 1: Stripe Access Key"


def test_the_scan_has_a_time_limit() -> None:
    line = f"x = '{'ab' * 10}' aws key '{'0' * 40}'\n".encode()
    with pytest.raises(RepositoryError, match="took longer"):
        list(secret_scan.scan(line * 100, deadline=0.0))


# ---- files of every kind --------------------------------------------------------------------------------------

ODD = ["a b", "ä", "new\nline", "ta\tb", 'quo"te', "-e", "HEAD:x", "back\\slash", "deep/er"]


def test_a_token_is_found_whatever_the_file_name(tree: Tree) -> None:
    for name in ODD:
        tree.write(name, TOKEN)
    assert sorted(secrets_in(tree)) == sorted(f"{name} line 1: GitHub Token" for name in ODD)


def test_a_token_is_found_in_a_file_with_a_non_utf_8_name(tree: Tree) -> None:
    (tree.path / os.fsdecode(b"\xff.txt")).write_text(TOKEN)
    assert secrets_in(tree) == ["\N{REPLACEMENT CHARACTER}.txt line 1: GitHub Token"]


def test_a_key_that_is_marked_binary_is_found(tree: Tree) -> None:
    tree.write(".gitattributes", "*.pem binary\n*.key -diff\n")
    for name in ("a.pem", "a.key"):
        tree.write(name, KEY)
    assert sorted(secrets_in(tree)) == ["a.key line 1: Private Key", "a.pem line 1: Private Key"]


def test_a_binary_file_and_a_very_big_one_are_not_read(tree: Tree) -> None:
    tree.write("image.png", b"\x89PNG\0\0" + TOKEN.encode())
    tree.write("dump.sql", "x\n" * 500_001 + TOKEN)
    assert secrets_in(tree) == []


def test_a_token_in_text_that_is_not_utf_8_is_found(tree: Tree) -> None:
    tree.write("latin", b"caf\xe9 " + TOKEN.encode())
    assert secrets_in(tree) == ["latin line 1: GitHub Token"]


@pytest.mark.parametrize("before", [0, 199, 3_900, 50_000])
@pytest.mark.parametrize("filler", ["x xox ", "//a/", "aws key ", "gl"])
@pytest.mark.slow
def test_a_token_is_found_in_a_line_of_any_length(before: int, filler: str, tree: Tree) -> None:
    """Also among words that make it worth reading, which would take minutes if such a line were read whole."""
    tree.write("bundle.js", (filler * 50_000)[:before] + f" {TOKEN} " + (filler * 50_000)[:200_000])
    assert secrets_in(tree) == ["bundle.js line 1: GitHub Token"]


def test_a_line_is_reported_once_for_each_kind(tree: Tree) -> None:
    two = f"{TOKEN} {SAMPLES['StripeDetector'][0]}"
    tree.write("a", f"{two}\r\n\f\n{two}\n")
    assert secrets_in(tree) == [
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
    assert secrets_in(tree) == ["a line 2: GitHub Token"]


@pytest.mark.slow
def test_a_baseline_of_detect_secrets_allows_its_entries(tree: Tree) -> None:
    tree.write("a.txt", f"x = {TOKEN}\n")
    tree.git("add", "--all")
    scan = [sys.executable, "-m", "detect_secrets", "scan", "a.txt"]
    done = subprocess.run(scan, cwd=tree.path, check=True, capture_output=True, text=True, timeout=60)
    tree.write(".secrets.baseline", done.stdout)
    assert secrets_in(tree) == []
    tree.write("b.txt", f"x = {TOKEN}\n")
    tree.write("a.txt", f"x = {TOKEN}\ny = {SAMPLES['GitHubTokenDetector'][1]}\n")
    assert secrets_in(tree) == ["a.txt line 2: GitHub Token", "b.txt line 1: GitHub Token"]


def test_a_baseline_allows_the_recorded_token_and_no_other_of_its_kind(tree: Tree) -> None:
    """What detect-secrets records for tokens of GitHub and for private keys is the same for all of them."""
    token = "gh" + "p_" + some(WORD, 36)

    def recorded(word: str, line: int) -> str:
        entry = {
            "hashed_secret": hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest(),
            "line_number": line,
        }
        return json.dumps({"results": {"a.txt": [entry]}})

    tree.write("a.txt", f"{token}\n{TOKEN}\n")
    tree.write(".secrets.baseline", recorded(token[:3], 1))
    assert secrets_in(tree) == ["a.txt line 2: GitHub Token"]
    tree.write(".secrets.baseline", recorded(TOKEN, 9))
    assert secrets_in(tree) == ["a.txt line 1: GitHub Token"]
    tree.write("a.txt", f"{PEM}\n{PEM}")
    tree.write(".secrets.baseline", recorded(PEM_LINES[0].strip("-"), 1))
    assert secrets_in(tree) == ["a.txt line 8: Private Key"]


def test_two_tokens_in_a_line_are_reported_once(tree: Tree) -> None:
    tree.write("a.txt", " ".join("gh" + "p_" + some(WORD, 36) for _ in range(2)))
    assert secrets_in(tree) == ["a.txt line 1: GitHub Token"]


def test_a_baseline_in_a_subdirectory_is_ignored(tree: Tree) -> None:
    tree.write("below/.secrets.baseline", f'{{"results": "{TOKEN}"}}')
    assert secrets_in(tree) == ["below/.secrets.baseline line 1: GitHub Token"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"results": []}', '{"results": {"a": [{}]}}', "\0"])
def test_an_invalid_baseline_is_an_error(content: str, tree: Tree) -> None:
    tree.write("a.txt", TOKEN)
    tree.write(".secrets.baseline", content)
    commit = tree.commit()
    with pytest.raises(RepositoryError, match="not a detect-secrets baseline") as e:
        secret_scan.check(tree.path, commit)
    assert e.value.where == ".secrets.baseline"


def test_a_short_key_counts_if_its_file_holds_nothing_else() -> None:
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA " + "PRIVATE KEY-----\n"
    assert [kind for kind, *_ in secret_scan.scan(key.encode())] == ["Private Key"]
    assert not list(secret_scan.scan(f"A key looks like this:\n{key}".encode()))
    assert not list(secret_scan.scan(f"{key}and so on\n".encode()))


PEM_LINES = [
    "-----BEGIN" + " PRIVATE KEY-----",
    *(some(WORD, 64) for _ in range(4)),
    "-----END" + " PRIVATE KEY-----",
]
PEM = "\n".join(PEM_LINES) + "\n"


def kinds(content: str | bytes) -> list[str]:
    return [kind for kind, *_ in secret_scan.scan(content.encode() if isinstance(content, str) else content)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_key_and_a_token_in_utf_16_are_found(encoding: str) -> None:
    text = f"{PEM}\r\n{TOKEN}\r\n".encode(encoding)
    assert kinds(text) == ["Private Key", "GitHub Token"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("A=github" + f"_pat_{some(WORD, 22)}_{some(WORD, 59)}", "GitHub Token"),
        ("//registry.example.org/:_auth" + f'Token = "npm_{some(WORD, 36)}"', "NPM tokens"),
        ("A=sk-" + f"proj-{some(WORD, 48)}", "OpenAI Token"),
        ("AWS_SECRET_ACCESS_" + f"KEY={some(WORD, 37)}7aB", "AWS Access Key"),
        ('{"Secret' + f'AccessKey": "{some(WORD, 37)}7aB"}}', "AWS Access Key"),
    ],
    ids=["GitHub", "npm", "OpenAI", "environment", "JSON"],
)
def test_a_token_of_a_form_that_detect_secrets_does_not_know_is_found_once(content: str, kind: str) -> None:
    assert kinds(content) == [kind]
    assert kinds(f"{content}  # pragma: allowlist " + "secret") == []


def test_a_token_that_both_scanners_know_is_reported_once() -> None:
    assert kinds(SAMPLES["NpmDetector"][0]) == ["NPM tokens"]


@pytest.mark.parametrize(
    "content",
    [
        "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a",
        "S" + "G.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr",
        "xo" + "xp-23984754863-2348975623103",
        "AS" + "IAMINORARCHAEOLOGY",
        "enum R { AS" + "IACENTRALREGIONONE, AC" + "CADEMIADELLECRUSCA }",
    ],
)
def test_examples_of_documentation_and_words_in_capitals_are_no_secrets(content: str) -> None:
    assert kinds(content) == []


OTP = "AB" + "IA" + "7K2QXVZ4RM3TP6WD"
OTP_LINES = [
    f"otpauth://totp/shop:me?secret={OTP}&issuer=shop",
    f'TOTP_SECRET = "{OTP}"',
    f"base32: {OTP}",
    f'"two_factor_secret": "{OTP}",',
]


@pytest.mark.parametrize("line", OTP_LINES)
def test_the_base32_of_a_one_time_password_is_no_identifier_of_aws(line: str) -> None:
    assert kinds(line) == []
    assert kinds(line.replace(line.partition(OTP)[0], "id: ")) == ["AWS Access Key"]
    assert kinds(f"{line}\nsecret: {some(WORD, 39)}7") == ["AWS Access Key"]


def test_an_identifier_of_letters_counts_beside_its_secret_key() -> None:
    assert kinds("AS" + f"IA{some(string.ascii_uppercase, 16)}\n{some(WORD, 40)}\n") == ["AWS Access Key"]


@pytest.mark.slow
def test_many_tokens_in_one_line_do_not_take_quadratic_time() -> None:
    tokens = " ".join("npm" + f"_{some(WORD, 36)}" for _ in range(20_000))
    assert len(kinds(tokens)) > 19_900  # some look like placeholders

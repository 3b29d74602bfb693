"""What must not be pushed: `.env` files, private keys and tokens in a commit's tree.

Only files that can hold a secret are read, one at a time: text of at most _LARGEST bytes. Of each, only the
surroundings of a word that every pattern here contains go to detect-secrets, a widely used scanner. Its matches are
checked once more (`_is_real`), because its patterns also match inside base64-encoded fonts, in examples, and in code
that mentions keys. Its own markers for "not a secret" are respected: a `pragma: allowlist secret` comment on the
line, or an entry in `.secrets.baseline`.
"""

import json
import math
import re
import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pushrod.adapters import git
from pushrod.core.errors import RepositoryError
from pushrod.core.lines import decode

_EXAMPLES = frozenset(
    ("example", "examples", "sample", "template", "tmpl", "tpl", "dist", "defaults", "skel")
)
# Words in names of files that are meant to be in Git: encrypted files, and templates.
_SEALED = frozenset(("age", "asc", "enc", "encrypted", "gpg", "j2", "erb", "schema", "sops", "vault"))
_BASELINE = ".secrets.baseline"
_LARGEST = 1_000_000  # bytes; keys and tokens are in small text files
_BINARY = 8000  # bytes at a file's beginning in which a NUL means binary, as in Git
_TIME = 120.0  # seconds for all files of a commit; 100 MB of text take about 5
_LISTED = 20  # matches that an error lists

# Characters. Of a longer line (a bundle of JavaScript) only the surroundings of the words below are read: the time of
# some detectors' patterns grows with the square of a line's length. Their longest certain match is about 150.
_LONG_LINE = 4000
_BEFORE, _AFTER, _STEP = 200, 1300, 1000

# The detectors of detect-secrets that are certain enough to refuse a push (none that works by entropy), each with a
# regular expression for a part of what it looks for: every match contains that part.
_DETECTORS = {
    "PrivateKeyDetector": "PRIVATE KEY|PuTTY-User-Key-File",
    "AWSKeyDetector": "AKIA|ASIA|ABIA|ACCA|A3T|[aA][wW][sS].{0,48}['\"][0-9a-zA-Z/+]{40}['\"]",
    "GitHubTokenDetector": "gh[pousr]_",
    "GitLabTokenDetector": "gl[a-z]{2,5}-|GR1348941",
    "SlackDetector": "[xX][oO][xX]|[sS][lL][aA][cC][kK]\\.[cC][oO][mM]/",
    "StripeDetector": "[rs]k_live",
    "SendGridDetector": "SG\\.",
    "NpmDetector": "_authToken",
    "PypiTokenDetector": "pypi-",
}
_SUSPICIOUS = re.compile("|".join(_DETECTORS.values()))

# The same for a whole file, about ten times as fast: each begins with fixed letters, which Python searches for as
# such; words whose case may vary are searched for in the file in lower case.
_FIRST = [
    re.compile(word)
    for word in (
        *(b"PRIVATE KEY", b"PuTTY-User-Key-File", b"A(?:KIA|SIA|BIA|CCA|3T)", b"gh[pousr]_"),
        *(b"gl[a-z]{2,5}-", b"GR1348941", b"k_live", b"SG\\.", b"_authToken", b"pypi-"),
    )
]
_FIRST_LOWER = (b"aws", b"xox", b"slack.com/")


def check(
    repository: Path,
    commit: str,
    *,
    blobs: Sequence[git.Blob] | None = None,
    known: Collection[str] = (),
    quarantine: Mapping[str, str] | None = None,
) -> None:
    """Raise RepositoryError naming the files of the commit that must not be there.

    `blobs` are its files, if known already. `known` are object names of files that were checked before, so that a
    push costs only as much as it changes.
    """
    if blobs is None:
        blobs = list(git.tree(repository, commit, quarantine=quarantine))
    files = [b.path for b in blobs if is_environment_file(b.path)]
    problems = [f"{path}: an environment file with its values" for path in files]
    problems += _find_secrets(repository, blobs, known, quarantine)
    if problems:
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise RepositoryError(
            f"the commit contains what must not be in Git: {'; '.join(problems[:_LISTED])}{more}",
            where=f"commit {commit[:7]}",
            hint=_commands(files)
            if files and len(problems) == len(files)
            else "remove it from the commit (git rm --cached FILE, add it to .gitignore, git commit --amend), put "
            "the values on the server with `pushrod secret import FILE`, and change any secret that was committed; "
            "record a false alarm in .secrets.baseline or with a `pragma: allowlist secret` comment",
        )


def _commands(files: Sequence[str]) -> str:
    """Commands that move environment files from Git to the server."""
    named = shlex.join(files[:_LISTED])
    return (
        f"git rm --cached {named} && git commit --amend --no-edit; "
        + "; ".join(f"pushrod secret import {shlex.quote(f)}" for f in files[:_LISTED])
        + "; add it to .gitignore, and change any secret that was pushed elsewhere"
    )


def is_environment_file(path: str) -> bool:
    """Whether a path is a `.env` file with values, not an example of one."""
    name = PurePosixPath(path).name
    words = {*re.split("[._-]", name.lower().removeprefix(".env."))}
    return name == ".env" or (name.startswith(".env.") and not words & (_EXAMPLES | _SEALED))


def _find_secrets(
    repository: Path,
    blobs: Sequence[git.Blob],
    known: Collection[str],
    quarantine: Mapping[str, str] | None,
) -> Iterator[str]:
    """Each file is read once, whatever the number of its paths."""
    paths: dict[str, list[str]] = {}
    for blob in blobs:
        if blob.size <= _LARGEST and blob.path != _BASELINE and blob.oid not in known:
            paths.setdefault(blob.oid, []).append(blob.path)
    allowed: set[tuple[str, str]] | None = None
    deadline = time.monotonic() + _TIME
    for oid, raw in git.contents(repository, list(paths), timeout=_TIME, quarantine=quarantine):
        for kind, digest, number in scan(raw, deadline):
            if allowed is None:
                baseline = next((b for b in blobs if b.path == _BASELINE), None)
                allowed = _baseline(repository, baseline, quarantine)
            for path in paths[oid]:
                if (path, digest) not in allowed:
                    yield f"{path} line {number}: {kind}"


def scan(raw: bytes, deadline: float = math.inf) -> Iterator[tuple[str, str, int]]:
    """The secrets in a file's contents: the kind of each, a digest of it, and its line number.

    Raises RepositoryError past `deadline` (by the monotonic clock).
    """
    lower = raw.lower()
    if not any(word in lower for word in _FIRST_LOWER) and not any(word.search(raw) for word in _FIRST):
        return
    if b"\0" in raw[:_BINARY]:
        return
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    plugins = [{"name": name} for name in _DETECTORS]
    allowlist = "detect_secrets.filters.allowlist.is_line_allowlisted"
    lines = decode(raw).split("\n")
    with transient_settings({"plugins_used": plugins, "filters_used": [{"path": allowlist}]}):
        for index, line in enumerate(lines):
            if not _SUSPICIOUS.search(line):
                continue
            secrets = {}
            for part in _suspicious(line):
                secrets.update(
                    {(s.type, s.secret_hash): s.secret_value or "" for s in scan_line(part) if s.secret_hash}
                )
                if time.monotonic() > deadline:
                    raise RepositoryError(
                        f"looking for secrets took longer than {_TIME:g} s",
                        hint="keep large generated files out of the commit",
                    )
            for (kind, digest), value in sorted(secrets.items()):
                if _is_real(kind, value, lines, index):
                    yield kind, digest, index + 1


def _suspicious(line: str) -> Iterator[str]:
    """The line if it contains one of the words; of a long line, the surroundings of the words."""
    place = _SUSPICIOUS.search(line)
    if place and len(line) <= _LONG_LINE:
        yield line
        return
    while place:
        yield line[max(0, place.start() - _BEFORE) : place.start() + _AFTER]
        place = _SUSPICIOUS.search(line, place.start() + _STEP)


# ---- false matches ----------------------------------------------------------------------------------------------

_BASE64 = re.compile("[A-Za-z0-9+/]*")
_LONG_RUN = 40  # characters; a key with the rest of a URL around it is shorter, a line of base64 has 64 or 76
_PLACEHOLDER = re.compile(
    r"example|sample|placeholder|your|change|abcdefgh|12345678|a1b2c3|qwerty|pacific|(.)\1{5}", re.IGNORECASE
)
_WORD = re.compile("[A-Z]?[a-z]{2,}")
# A name has fewer characters outside words; of 20 random characters, one case in 2000 has as few.
_NO_WORDS = 0.1
_TOKENS = {  # the random part, if the detector does not report it
    "GitHub Token": re.compile("gh[pousr]_([A-Za-z0-9_]{36,255})"),
    "GitLab Token": re.compile(r"gl[a-z]{2,5}-([\w-]{20,255})|GR1348941([\w-]{20,255})"),
    "NPM tokens": re.compile("_authToken=\\s*(?:npm_([A-Za-z0-9]{30,255})|([A-Fa-f0-9-]{36}))"),
    "Slack Token": re.compile(
        r"xox[abposr]-(?:\d+-)+([a-z0-9]{12,255})|/services/T\w+/B\w+/(\w{12,255})", re.IGNORECASE
    ),
}
_BEGINS = re.compile(r"BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?\s?-{4,5}")
_KEY_LINES = 12  # lines within which the body of a key must begin
_KEY_BODY = re.compile("[A-Za-z0-9+/=]{16,}")
_AROUND_KEY = " \t\"'`+,;|>#*()[]\\"  # what surrounds a key's lines in source code, a comment or a table


def _is_real(kind: str, value: str, lines: Sequence[str], index: int) -> bool:
    """Whether a match can be a secret, and is not data, an example, or text about one."""
    if kind == "Private Key":
        return _is_private_key(lines, index)
    if kind == "AWS Access Key":
        return _is_aws(value, lines[index])
    if kind in _TOKENS:
        matches = _TOKENS[kind].finditer(lines[index])
        return any(_is_random(next(filter(None, token.groups()))) for token in matches)
    return _is_random(re.sub(r"^\w{2,9}[_.-]", "", value))


def _is_random(text: str) -> bool:
    """Whether a text can be random: no placeholder, no name, and varied (Shannon entropy in bits per character).

    16 random characters out of 32 have about 3.6, and less than 2.7 in one case of 100,000.
    """
    counts = Counter(text).values()
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
    return entropy >= 2.7 and not _PLACEHOLDER.search(text) and not _is_made_of_words(text)


def _is_made_of_words(text: str) -> bool:
    """Whether a text of at least 20 characters is a name or a path: `getTheKeyOfTheStore`, `src/handlers/Orders`."""
    letters = re.sub("[_./+-]", "", text)
    return len(text) >= 20 and len(_WORD.sub("", letters)) <= _NO_WORDS * len(letters)


def _is_aws(value: str, line: str) -> bool:
    if len(value) == 20 and re.fullmatch("A[A-Z0-9]+", value):
        places = re.finditer(rf"(?<![A-Za-z0-9_]){value}(?![A-Za-z0-9_])", line)
        return _is_random(value[4:]) and any(not _is_in_base64(line, place) for place in places)
    mixed = all(re.search(letters, value) for letters in ("[A-Z]", "[a-z]", "[0-9+/]"))
    return mixed and _is_random(value)


def _is_in_base64(line: str, candidate: re.Match[str]) -> bool:
    """Whether a match is part of a longer run of base64: the data of a font or of an image."""
    before = line[max(0, candidate.start() - _LONG_RUN) : candidate.start()][::-1]
    after = line[candidate.end() : candidate.end() + _LONG_RUN]
    run = sum(len(match[0]) for part in (before, after) if (match := _BASE64.match(part)))
    return run + len(candidate[0]) > _LONG_RUN


def _is_private_key(lines: Sequence[str], index: int) -> bool:
    """Whether a key follows its first line: code and documentation mention the line alone."""
    line = lines[index]
    if re.search(r"PuTTY-User-Key-File-\d: \S", line):
        return True
    beginning = _BEGINS.search(line)
    if beginning is None:
        return False
    first = line[beginning.end() : beginning.end() + _LONG_LINE]
    text = "\n".join(
        [first, *(following[:_LONG_LINE] for following in lines[index + 1 : index + _KEY_LINES])]
    )
    text = text.partition("-END")[0]
    if re.search(r"EXAMPLE|\.\.\.|…", text):
        return False
    for part in re.split(r"\\+[nr]|[\n\r]", text):
        word = part.strip(_AROUND_KEY).removesuffix("-----")
        if not word or re.match(r"[A-Za-z-]+: ", word):  # a header: `Proc-Type: 4,ENCRYPTED`, `Version: …`
            continue
        body = _KEY_BODY.match(word)
        return (
            body is not None
            and len(set(body[0])) >= 8
            and body[0] != body[0].upper()
            and not _is_made_of_words(body[0])
        )
    return False


def _baseline(
    repository: Path, blob: git.Blob | None, quarantine: Mapping[str, str] | None
) -> set[tuple[str, str]]:
    if blob is None:
        return set()
    if blob.size > _LARGEST:
        raise RepositoryError(f"larger than {_LARGEST} bytes", where=_BASELINE, hint="create it again")
    ((_, raw),) = git.contents(repository, [blob.oid], quarantine=quarantine)
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads(raw)["results"]
        return {(path, entry["hashed_secret"]) for path, entries in results.items() for entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise RepositoryError(f"not a detect-secrets baseline: {e!r}", where=_BASELINE) from e

"""What must not be pushed: `.env` files, private keys and tokens in a commit's tree.

Only files that can hold a secret are read, one at a time: text of at most _LARGEST bytes. Of each, only the
surroundings of a word that every pattern here contains go to detect-secrets, a widely used scanner. `token_forms`
looks for tokens whose form it does not know. All matches are checked once more (`_is_real`), because such patterns
also match inside base64-encoded fonts, in examples, and in code that mentions keys. detect-secrets' own markers for
"not a secret" are respected: a `pragma: allowlist secret` comment on the line, or an entry in `.secrets.baseline`.
"""

import bisect
import codecs
import functools
import hashlib
import importlib.util
import itertools
import json
import math
import re
import shlex
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pushrod.adapters import git
from pushrod.core.errors import HostError, RepositoryError
from pushrod.core.lines import decode
from pushrod.core.patterns import lazy
from pushrod.releases import private_keys, token_forms

_EXAMPLES = frozenset((
    "beispiel", "blank", "contoh", "default", "defaults", "demo", "dist", "dummy", "ejemplo", "esempio", "example",
    "examples", "exempel", "exemple", "exemplo", "gitkeep", "md", "modelo", "muster", "ornek", "placeholder",
    "plantilla", "primer", "reference", "sample", "samples", "skel", "stub", "template", "templates", "tmpl", "tpl",
    "voorbeeld", "vorlage",
))  # fmt: skip
_CODE = (".ts", ".tsx", ".js", ".mjs", ".cjs")  # programs and types, which read the variables
# Words in names of files that are meant to be in Git: encrypted files, and templates.
_SEALED = frozenset(("age", "asc", "enc", "encrypted", "gpg", "j2", "erb", "schema", "sops", "vault"))
_ALLOWLIST = "detect_secrets.filters.allowlist.is_line_allowlisted"
_BASELINE = ".secrets.baseline"
_LARGEST = 1_000_000  # bytes; keys and tokens are in small text files
_SEEN = 256  # bytes by which UTF-16 is recognised
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
_PUTTY = ("PuTTY-User-Key-File-3", "PuTTY-User-Key-File-2")  # the detector knows the older format only
_SUSPICIOUS = lazy("|".join(_DETECTORS.values()))

# The same for a whole file, about ten times as fast: each begins with fixed letters, which Python searches for as
# such; words whose case may vary are searched for in the file in lower case.
_FIRST = [
    lazy(word)
    for word in (
        *(b"PRIVATE KEY", b"PuTTY-User-Key-File", b"A(?:KIA|SIA|BIA|CCA|3T)", b"gh[pousr]_"),
        *(b"gl[a-z]{2,5}-", b"GR1348941", b"k_live", b"SG\\.", b"_authToken", b"pypi-"),
        private_keys.ENCODED.encode(),
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
    match = re.fullmatch(r"\.env(?:[._~-](.*))?", PurePosixPath(path).name.lower(), re.DOTALL)
    if match is None or match[0].endswith(_CODE):
        return False
    words = {*re.split("[._~-]", match[1] or "")}
    words |= {word.rstrip("0123456789") for word in words}
    return not words & (_EXAMPLES | _SEALED)


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
    allowed: set[_Recorded] | None = None
    deadline = time.monotonic() + _TIME
    for oid, raw in git.contents(repository, list(paths), timeout=_TIME, quarantine=quarantine):
        reported = dict[str, None]()
        for kind, digest, number in scan(raw, deadline):
            if allowed is None:
                baseline = next((b for b in blobs if b.path == _BASELINE), None)
                allowed = _baseline(repository, baseline, quarantine)
            for path in paths[oid]:
                if not _is_recorded(allowed, path, kind, digest, number):
                    reported[f"{path} line {number}: {kind}"] = None
        yield from reported


@functools.cache
def version() -> str:
    """A digest of what decides a scan's result. A file that another version passed has to be scanned again."""
    programs = (Path(str(module.__file__)) for module in (private_keys, token_forms))
    text = b"".join(path.read_bytes() for path in (Path(__file__), *programs, _scanner() / "__version__.py"))
    return hashlib.sha256(text).hexdigest()


def _scanner() -> Path:
    """The directory of detect-secrets, found without importing it."""
    spec = importlib.util.find_spec("detect_secrets")
    if spec is None or spec.origin is None:
        raise HostError("detect-secrets is not installed", hint="install pushrod with its dependencies again")
    return Path(spec.origin).parent


def scan(raw: bytes, deadline: float = math.inf) -> Iterator[tuple[str, str, int]]:
    """The secrets in a file's contents: the kind of each, a digest of it, and its line number.

    Raises RepositoryError past `deadline` (by the monotonic clock).
    """
    raw = _as_utf_8(raw)
    formed, lower = token_forms.may_be_in(raw), raw.lower()
    known = any(word in lower for word in _FIRST_LOWER) or any(word.search(raw) for word in _FIRST)
    if not (formed or known) or b"\0" in raw[:_BINARY]:
        return
    text = decode(raw)
    lines = text.split("\n")
    detected = [*_detected(lines, deadline)] if known else []
    if formed:
        detected += _formed(text, lines, detected, deadline)
    unique = {(index + 1, kind, digest) for kind, digest, _, index in detected if digest not in _DOCUMENTED}
    yield from ((kind, digest, number) for number, kind, digest in sorted(unique))


def _formed(
    text: str, lines: Sequence[str], detected: Sequence[tuple[str, str, str, int]], deadline: float
) -> Iterator[tuple[str, str, str, int]]:
    """The tokens of known forms that are not among `detected`: kind, digest, value, and the line's index."""
    starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)]
    values: dict[tuple[str, int], list[str]] = {}
    for kind, _, value, index in detected:
        values.setdefault((kind, index), []).append(value)
    allowed: dict[int, bool] = {}
    for token in token_forms.find(text):
        if time.monotonic() > deadline:
            raise _too_long()
        index = bisect.bisect_right(starts, token.place) - 1
        if any(token.value in value or value in token.value for value in values.get((token.kind, index), ())):
            continue
        if not _is_real_token(token):
            continue
        if index not in allowed:
            allowed[index] = _is_allowed(lines, index)
        if not allowed[index]:
            yield token.kind, _digest(token.value), token.value, index


def _as_utf_8(raw: bytes) -> bytes:
    """A text in UTF-16, as PowerShell's `>` writes it, in UTF-8; anything else unchanged."""
    even, odd = raw[:_SEEN:2], raw[1:_SEEN:2]
    little = raw.startswith(codecs.BOM_UTF16_LE) or (all(even) and not any(odd) and len(raw) > 2)
    big = raw.startswith(codecs.BOM_UTF16_BE) or (all(odd) and not any(even) and len(raw) > 2)
    if not (little or big):
        return raw
    return raw.decode("utf-16-le" if little else "utf-16-be", errors="replace").encode(errors="replace")


def _detected(lines: Sequence[str], deadline: float) -> Iterator[tuple[str, str, str, int]]:
    """What detect-secrets finds and private keys in base64: kind, digest, value, and the line's index."""
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    plugins = [{"name": name} for name in _DETECTORS]
    with transient_settings({"plugins_used": plugins, "filters_used": [{"path": _ALLOWLIST}]}):
        for index, line in enumerate(lines):
            if (run := private_keys.encoded(lines, index)) and not _is_allowed(lines, index):
                yield "Private Key", _digest(run), run, index
            if time.monotonic() > deadline:
                raise _too_long()
            if not _SUSPICIOUS.search(line):
                continue
            secrets = {}
            for part in _suspicious(line):
                secrets.update(
                    {
                        (s.type, s.secret_hash): s.secret_value or ""
                        for s in scan_line(part.replace(*_PUTTY))
                        if s.secret_hash
                    }
                )
                if time.monotonic() > deadline:
                    raise _too_long()
            for (kind, digest), value in sorted(secrets.items()):
                if kind == _GITHUB:  # the detector reports only how the token begins
                    yield from ((kind, _digest(token), token, index) for token in _github(line))
                elif _is_real(kind, value, lines, index):
                    yield kind, digest, value, index


def _too_long() -> RepositoryError:
    return RepositoryError(
        f"looking for secrets took longer than {_TIME:g} s",
        hint="keep large generated files out of the commit",
    )


def _digest(value: str) -> str:
    """The digest by which a baseline of detect-secrets knows a value."""
    return hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest()


def _is_allowed(lines: Sequence[str], index: int) -> bool:
    """Whether the line's comment says that it holds no secret."""
    from detect_secrets.filters.allowlist import is_line_allowlisted
    from detect_secrets.util.code_snippet import get_code_snippet

    line = lines[index]
    return bool(is_line_allowlisted("line", line, get_code_snippet(lines=[line], line_number=1)))


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

_BASE64 = lazy("[A-Za-z0-9+/]*")
_LONG_RUN = 40  # characters; a key with the rest of a URL around it is shorter, a line of base64 has 64 or 76
_GITHUB = "GitHub Token"
_TOKENS = {  # the random part, if the detector does not report it
    _GITHUB: lazy("gh[pousr]_([A-Za-z0-9_]{36,255})"),
    "GitLab Token": lazy(r"gl[a-z]{2,5}-([\w-]{20,255})|GR1348941([\w-]{20,255})"),
    "NPM tokens": lazy("_authToken=\\s*(?:npm_([A-Za-z0-9]{30,255})|([A-Fa-f0-9-]{36}))"),
    "Slack Token": lazy(
        r"xox[abposr]-(?:\d+-)+((?!\d+\b)[a-z0-9]{12,255})|/services/T\w+/B\w+/(\w{12,255})", re.IGNORECASE
    ),
}
_OTP = lazy(r"otp|base32|2fa|two_?factor|authenticator", re.IGNORECASE)
_AWS_SECRET = lazy("(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])")
# Examples in the documentation of GitHub, SendGrid, Stripe, Azurite and restic, by their digests.
_DOCUMENTED = frozenset((
    "661d8537b677bab547cd6fa69cc9e1c41aa6fcb1", "333610852de67fd33f8b7ed59759728cbd6e7eda",
    "891a58077e6f5753b8838bf4f865a7de32b60440", "5666459779d6a76bea73453137803fd27d8f79cd",
    "71ccf2d265586ce85a3529e8cce0423d5145cc27",
))  # fmt: skip


def _is_real_token(token: token_forms.Token) -> bool:
    if token.kind == token_forms.AWS:
        return _is_secret_key(token.value)
    return token_forms.is_random(token.random)


def _github(line: str) -> Iterator[str]:
    """The tokens of GitHub in a line that can be real."""
    for token in _TOKENS[_GITHUB].finditer(line):
        if token_forms.is_random(token[1]) and _digest(token[0]) not in _DOCUMENTED:
            yield token[0]


def _is_real(kind: str, value: str, lines: Sequence[str], index: int) -> bool:
    """Whether a match can be a secret, and is not data, an example, or text about one."""
    if kind == "Private Key":
        return private_keys.begins(lines, index)
    if kind == "AWS Access Key":
        return _is_aws(value, lines, index)
    if kind in _TOKENS:
        return any(
            token_forms.is_random(next(filter(None, token.groups()))) and _digest(token[0]) not in _DOCUMENTED
            for token in _TOKENS[kind].finditer(lines[index])
        )
    return token_forms.is_random(re.sub(r"^\w{2,9}[_.-]", "", value))


def _is_aws(value: str, lines: Sequence[str], index: int) -> bool:
    line = lines[index]
    if len(value) == 20 and re.fullmatch("A[A-Z0-9]+", value):
        places = re.finditer(rf"(?<![A-Za-z0-9_]){value}(?![A-Za-z0-9_])", line)
        if (
            _is_last_of_base64(lines, index)
            or _is_a_word(value, lines, index)
            or _is_otp(value, lines, index)
        ):
            return False
        return token_forms.is_random(value[4:]) and any(not _is_in_base64(line, place) for place in places)
    return _is_secret_key(value)


def _is_secret_key(value: str) -> bool:
    mixed = all(re.search(letters, value) for letters in ("[A-Z]", "[a-z]", "[0-9+/]"))
    return mixed and token_forms.is_random(value)


def _is_a_word(identifier: str, lines: Sequence[str], index: int) -> bool:
    """Whether capitals without a digit are a name, as in ASIAPACIFIC…: no secret key stands beside them.

    One real identifier in 28 has no digit. Those that begin with AKIA cannot be words.
    """
    word = not identifier.startswith("AKIA") and identifier.isalpha()
    return word and not _AWS_SECRET.search(_beside(lines, index))


def _is_otp(identifier: str, lines: Sequence[str], index: int) -> bool:
    """Whether an identifier is the base32 of a one-time password, by a word before it: no secret key stands beside
    that.
    """
    before = lines[index].partition(identifier)[0][-_LONG_RUN:]
    return _OTP.search(before) is not None and not _AWS_SECRET.search(_beside(lines, index))


def _beside(lines: Sequence[str], index: int) -> str:
    return "\n".join(line[:_LONG_LINE] for line in lines[max(0, index - 2) : index + 3])


def _is_in_base64(line: str, candidate: re.Match[str]) -> bool:
    """Whether a match is part of a longer run of base64: the data of a font or of an image."""
    before = line[max(0, candidate.start() - _LONG_RUN) : candidate.start()][::-1]
    after = line[candidate.end() : candidate.end() + _LONG_RUN]
    run = sum(len(match[0]) for part in (before, after) if (match := _BASE64.match(part)))
    return run + len(candidate[0]) > _LONG_RUN


def _is_last_of_base64(lines: Sequence[str], index: int) -> bool:
    """Whether a line is the short end of base64 in lines: of a certificate, of a mail's attachment."""
    before, line = (
        text.strip(private_keys.AROUND + "\r") for text in (lines[index - 1] if index else "", lines[index])
    )
    full = _LONG_RUN < len(before) <= _LONG_LINE and _BASE64.fullmatch(before)
    return bool(full) and len(line) < len(before) and _BASE64.fullmatch(line.rstrip("=")) is not None


# ---- false alarms on record -------------------------------------------------------------------------------------

_Recorded = tuple[str, str, int]
_ANYWHERE = -1
# What detect-secrets records for a GitHub token and for a private key is the same for all of that kind.
_BEGINNINGS = frozenset(_digest(f"gh{letter}") for letter in "pousr")
_SHARED = _BEGINNINGS | {
    _digest(word)
    for word in (
        *(f"BEGIN {kind}PRIVATE KEY" for kind in ("", "DSA ", "EC ", "OPENSSH ", "RSA ")),
        *("BEGIN PGP PRIVATE KEY BLOCK", "BEGIN SSH2 ENCRYPTED PRIVATE KEY", _PUTTY[1]),
    )
}


def _is_recorded(allowed: Collection[_Recorded], path: str, kind: str, digest: str, number: int) -> bool:
    """Whether the baseline has this secret of a file: by its digest, or by its line where the digest is shared."""
    if digest in _SHARED:
        return (path, digest, number) in allowed
    by_line = kind == _GITHUB and any((path, begins, number) in allowed for begins in _BEGINNINGS)
    return by_line or (path, digest, _ANYWHERE) in allowed


def _baseline(
    repository: Path, blob: git.Blob | None, quarantine: Mapping[str, str] | None
) -> set[_Recorded]:
    if blob is None:
        return set()
    if blob.size > _LARGEST:
        raise RepositoryError(f"larger than {_LARGEST} bytes", where=_BASELINE, hint="create it again")
    ((_, raw),) = git.contents(repository, [blob.oid], quarantine=quarantine)
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads(raw)["results"]
        entries = [
            (path, entry["hashed_secret"], entry) for path, listed in results.items() for entry in listed
        ]
        return {
            (path, digest, place)
            for path, digest, entry in entries
            for place in (_ANYWHERE, entry.get("line_number", _ANYWHERE))
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise RepositoryError(f"not a detect-secrets baseline: {e!r}", where=_BASELINE) from e

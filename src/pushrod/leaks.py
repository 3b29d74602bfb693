"""What must not be pushed: `.env` files, private keys and tokens in a commit's tree.

Git finds the few files that hold a word every one of these patterns contains; only those are read and given to
detect-secrets, the scanner the field uses, so a clean push pays one `git grep`. Its own ways of saying "this is
no secret" hold here too: a `pragma: allowlist secret` comment on the line, or an entry in `.secrets.baseline`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pushrod.errors import RepositoryError
from pushrod.gears import git

_EXAMPLES = ("example", "sample", "template", "dist")
_BASELINE = ".secrets.baseline"
_LARGEST = 1_000_000  # bytes; a key or a token sits in a small text file

# Characters. A longer line (a bundle of JavaScript) is read only around the words below: some of the detectors'
# own patterns take time that grows with the square of a line's length. Their longest sure find is some 150.
_LONG_LINE = 4000
_BEFORE, _AFTER, _STEP = 200, 1300, 1000

# The detectors of detect-secrets whose finds are certain enough to refuse a push (none that works by entropy),
# and an extended regular expression for a part of what each looks for: no find is without it.
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


def check(repository: Path, commit: str, *, quarantine: Mapping[str, str] | None = None) -> None:
    """Raise RepositoryError naming every file of the commit that must not be there."""
    files = [blob.path for blob in git.tree(repository, commit, quarantine=quarantine)]
    found = [f"{path}: an environment file with its values" for path in files if is_environment_file(path)]
    found += _find_secrets(repository, commit, quarantine)
    if found:
        raise RepositoryError(
            "the commit holds what must not be in Git: " + "; ".join(found),
            where=f"commit {commit[:7]}",
            hint="take it out of the commit (git rm --cached FILE, add it to .gitignore, git commit --amend), put "
            "the values on the server with `pushrod secret import FILE`, and change any secret that was committed; "
            "a false alarm goes into .secrets.baseline or gets a `pragma: allowlist secret` comment",
        )


def is_environment_file(path: str) -> bool:
    """Whether a path is a `.env` file with values, not an example of one."""
    name = PurePosixPath(path).name
    return name == ".env" or (name.startswith(".env.") and name.rsplit(".", 1)[-1] not in _EXAMPLES)


def _find_secrets(repository: Path, commit: str, quarantine: Mapping[str, str] | None) -> Iterator[str]:
    suspects = git.grep(repository, commit, tuple(_DETECTORS.values()), quarantine=quarantine)
    if not suspects:
        return
    blobs = {b.path: b for b in git.tree(repository, commit, quarantine=quarantine)}
    allowed = _baseline(repository, blobs.get(_BASELINE), quarantine)
    for path in suspects:
        blob = blobs[path]
        if blob.size <= _LARGEST and path != _BASELINE:
            text = git.contents(repository, blob, quarantine=quarantine)
            if "\0" not in text:  # a binary file
                yield from _scan(path, text, allowed)


def _scan(path: str, text: str, allowed: set[tuple[str, str]]) -> Iterator[str]:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import transient_settings

    plugins = [{"name": name} for name in _DETECTORS]
    allowlist = "detect_secrets.filters.allowlist.is_line_allowlisted"
    with transient_settings({"plugins_used": plugins, "filters_used": [{"path": allowlist}]}):
        for number, line in enumerate(text.split("\n"), start=1):
            found = {s for part in _suspicious(line) for s in scan_line(part)}
            for kind in sorted(s.type for s in found if (path, s.secret_hash) not in allowed):
                yield f"{path} line {number}: {kind}"


def _suspicious(line: str) -> Iterator[str]:
    """The line if it holds one of the words; of a long line, the places around them."""
    place = _SUSPICIOUS.search(line)
    if place and len(line) <= _LONG_LINE:
        yield line
        return
    while place:
        yield line[max(0, place.start() - _BEFORE) : place.start() + _AFTER]
        place = _SUSPICIOUS.search(line, place.start() + _STEP)


def _baseline(
    repository: Path, blob: git.Blob | None, quarantine: Mapping[str, str] | None
) -> set[tuple[str, str]]:
    if blob is None:
        return set()
    try:
        results: dict[str, list[dict[str, Any]]] = json.loads(
            git.contents(repository, blob, quarantine=quarantine)
        )["results"]
        return {(path, entry["hashed_secret"]) for path, entries in results.items() for entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise RepositoryError(f"not a detect-secrets baseline: {e!r}", where=_BASELINE) from e

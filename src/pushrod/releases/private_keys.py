"""Private keys in a text: PEM (also in source code, a listing or a diff), PuTTY's format, and base64. Pure."""

import base64
import binascii
import re
import string
from collections.abc import Sequence

from pushrod.core.lines import decode
from pushrod.core.patterns import lazy
from pushrod.releases.token_forms import is_made_of_words

ENCODED = "LS0tLS1CRUdJTi"
"""The base64 of `-----BEGIN `, as in a Kubernetes secret."""

_ALPHABET = string.ascii_letters + string.digits + "+/"
_LONGEST = 4000  # characters of a line that are read
_BEGINS = lazy(r"BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?\s?-{4,5}")
_KEY_LINES = 12  # lines within which the body of a key must begin
_ENCODED_LINES = 200  # of base64 that are read: a certificate and its key
_SHORTEST = 60  # characters of the shortest key, Ed25519 in PKCS #8, which has 64
_SEQUENCE = lazy("abcdefgh|12345678", re.IGNORECASE)
_KEY_BODY = lazy("[A-Za-z0-9+/=]{16,}")
_ENDS = lazy(r"\\+[nr]|[\n\r]|<br ?/?>|&#(?:10|13|x0?[aAdD]);")  # of lines, also in JSON, HTML and XML
_NUMBER = lazy(r"\s*\d{1,6}(?:[:|.]\s*|\s+)")  # of a line, in a listing
AROUND = " \t\"'`+-,;|>#*()[]\\"  # what surrounds a key's lines in source code, a comment or a table


def begins(lines: Sequence[str], index: int) -> bool:
    """Whether a key follows its first line: code and documentation mention the line alone."""
    line = lines[index]
    if re.search(r"PuTTY-User-Key-File-\d: \S", line):
        return True
    beginning = _BEGINS.search(line)
    if beginning is None:
        return False
    first = line[beginning.end() : beginning.end() + _LONGEST]
    text = "\n".join([first, *(following[:_LONGEST] for following in lines[index + 1 : index + _KEY_LINES])])
    text, end, _ = text.partition("-END")
    short = end and len(re.sub(r"[^A-Za-z0-9+/]|\\+[nr]", "", text)) < _SHORTEST
    if re.search(r"EXAMPLE|\.\.\.|…", text) or (short and not _is_key_file(lines, index)):
        return False
    for part in _ENDS.split(text):
        word = _NUMBER.sub("", part, count=1).strip(AROUND) if _NUMBER.match(part) else part.strip(AROUND)
        if not word or re.match(r"[A-Za-z-]+: ", word):  # a header: `Proc-Type: 4,ENCRYPTED`, `Version: …`
            continue
        body = _KEY_BODY.match(word)
        return (
            body is not None
            and len(set(body[0])) >= 8
            and body[0] != body[0].upper()
            and not is_made_of_words(body[0])
            and not _SEQUENCE.search(body[0][:_SHORTEST])
        )
    return False


def encoded(lines: Sequence[str], index: int) -> str:
    """The base64 in which a private key begins on this line; empty if there is none."""
    place = lines[index].find(ENCODED)
    if place < 0:
        return ""
    run = lines[index][place:]
    for following in lines[index + 1 : index + _ENCODED_LINES]:
        part = following.strip(" \t\r\"',")
        if not part or part.rstrip("=").strip(_ALPHABET):
            break
        run += part
    run = run.replace("\r", "")
    run = run[: len(run) - len(run.lstrip(_ALPHABET))]
    try:
        text = decode(base64.b64decode(run[: len(run) // 4 * 4]))
    except binascii.Error:
        return ""
    decoded = text.split("\n")
    keys = (n for n, line in enumerate(decoded) if "PRIVATE KEY" in line)
    return run if any(begins(decoded, n) for n in keys) else ""


def _is_key_file(lines: Sequence[str], index: int) -> bool:
    """Whether a file holds a key and nothing else: then it is a key even if its body looks cut off."""
    filled = [line for line in lines if line.strip()]
    return filled[0] is lines[index] and "-END " in filled[-1] and len(filled) <= _KEY_LINES

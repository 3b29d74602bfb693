"""`secret import` reads a `.env` file as `docker compose` does: two hundred generated files, each read by both."""

import json
import os
import random
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devtools.apps import Machine, complaint
from pushrod.adapters import compose_loader, dotenv
from pushrod.cli import secret
from pushrod.core.errors import HostError
from pushrod.system import processes

pytestmark = pytest.mark.integration

FILES = 200
NAMES = (
    "A",
    "B",
    "DB_USER",
    "X1",
    "_Y",
    "lower",
    "LONG_NAME_2",
    "spring.datasource.url",
    "A-B",
    "1A",
    "Ä",
    "A[0]",
)
PIECES = (
    *(
        "a",
        "7",
        " ",
        "  ",
        "#",
        " #",
        "=",
        ":",
        "/",
        "\\n",
        "\\t",
        "\\\\",
        '\\"',
        "\\'",
        "\\$",
        "$$",
        "ä",
        "日本",
    ),
    *("\u2028", "`", "{", "-", "&", "!", "*", "%", "\t", "\x0b", "'", '"', "two words", "p4ss"),
)
REFERENCES = (
    *(
        "${A}",
        "$A",
        "${B:-d}",
        "${NONE:-d e}",
        "${NONE-x}",
        "${A:+alt}",
        "${NONE:+alt}",
        "${A:?no}",
        "${NONE:-${A}}",
    ),
    *("${NONE:-}", "${NONE}", "${DB_USER}@host", "$1"),
)
BROKEN = ("${NONE:?must be set}", "${", "${A", "$}", "\\")
BREAKS = ("\n", "\r\n", "\n\n", "\n\t", "\n# no comment\n", "\nB=2\n")


def value(made: random.Random, quote: str) -> str:
    pieces = []
    for _ in range(made.randrange(7)):
        pieces.append(made.choice(REFERENCES if made.random() < 0.25 else PIECES))
        if quote and made.random() < 0.2:
            pieces.append(made.choice(BREAKS))
        if made.random() < 0.01:
            pieces.append(made.choice(BROKEN))
    text = "".join(pieces)
    if made.random() < 0.98:  # otherwise a quote may end too early, or be missing
        text = text.replace(quote, f"\\{quote}") if quote else text.replace('"', "").replace("'", "")
    return text


def a_line(made: random.Random) -> str:
    kind = made.random()
    if kind < 0.08:
        return made.choice(("# comment", "", "   ", "#A=1", "\t# x"))
    if kind < 0.12:
        return made.choice(("BARE", "export BARE", "export A"))
    quote = made.choice(("", "", "'", '"'))
    before = made.choice(("", "", "", "export ", "export  ", "  "))
    equals = made.choice((*["="] * 8, " = ", " =", "= ", ": "))
    behind = made.choice(("", "", "", " # said", "  ", "#x"))
    return f"{before}{made.choice(NAMES)}{equals}{quote}{value(made, quote)}{quote}{behind}"


def a_file(seed: int) -> str:
    made = random.Random(seed)
    end = made.choice(("\n", "\n", "\r\n"))
    text = end.join(a_line(made) for _ in range(made.randrange(1, 9))) + end
    return f"\ufeff{text}" if made.random() < 0.1 else text


def loaded(directory: Path, service: Mapping[str, object]) -> dict[str, str] | None:
    """The environment that Compose gives a service; None if it cannot read the file."""
    (directory / "compose.yaml").write_text(json.dumps({"services": {"it": {"image": "x", **service}}}))
    own = {name: os.environ[name] for name in ("PATH", "HOME")}
    done = processes.run([*compose_loader.argv_of(), "config", "--format", "json"], cwd=directory, env=own)
    if done.status:
        return None
    result = json.loads(done.stdout)["services"]["it"].get("environment") or {}
    return {name: value.replace("$$", "$") for name, value in result.items() if name and value is not None}


def compare(directory: Path, text: str) -> tuple[dict[str, str] | None, str]:
    """What Compose reads, and how pushrod differs from it (empty: it does not)."""
    directory.mkdir()
    (directory / "my.env").write_bytes(text.encode())
    expected = loaded(directory, {"env_file": ["my.env"]})
    try:
        result = dotenv.read(secret._read(directory / "my.env"))
    except HostError as e:
        return expected, "" if expected is None else f"refused: {e.what} {e.where}"
    if expected is None:
        return None, f"read: {result}"
    (directory / "my.env").rename(directory / ".env")  # now as the source of `${NAME}`
    referred = {
        n: v for n, v in expected.items() if re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", n)
    }  # other names cannot be referenced
    used = loaded(directory, {"environment": {name: f"${{{name}}}" for name in referred}})
    differs = {
        n: (expected.get(n), result.get(n)) for n in {*expected, *result} if expected.get(n) != result.get(n)
    }
    return expected, str(differs or "") if used == referred else f"used: {used}, given: {expected}"


def test_files_are_read_as_compose_reads_them(tmp_path: Path) -> None:
    texts = [a_file(seed) for seed in range(FILES)]
    with ThreadPoolExecutor(4) as threads:
        result = list(threads.map(compare, [tmp_path / str(n) for n in range(FILES)], texts))
    wrong = [f"{text!r}: {why}" for text, (_, why) in zip(texts, result, strict=True) if why]
    assert wrong == []
    read = [expected for expected, _ in result if expected is not None]
    values = [value for expected in read for value in expected.values()]
    print(
        f"{len(read)} of {FILES} files are read, with {len(values)} values; {FILES - len(read)} are refused by both"
    )
    assert FILES * 0.6 < len(read) < FILES
    for seen in ("\n", "\r\n", "\t", "#", "ä", "$", '"', "\\"):
        assert any(seen in value for value in values), seen


@pytest.mark.parametrize("given", ["as a file", "by standard input"])
def test_line_ends_within_quotes_are_the_values_own(machine: Machine, given: str) -> None:
    app = machine.app(f"ends-{given[:2]}", push=False)
    text = 'A="one\r\ntwo"\r\nB=3\r\n'
    (app.tree.path / "my.env").write_bytes(text.encode())
    if given == "as a file":
        app.must("secret", "import", "my.env")
    else:
        app.must("secret", "import", "-", stdin=text)
    kept = json.loads((machine.root / "apps" / app.name / "secrets" / "variables.json").read_text())
    assert kept == {"A": "one\r\ntwo", "B": "3"}


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"A=1\nKEY=-----BEGIN\nc2VjcmV0-bGluZQ=\n", 3),
        (b"A=1\nKEY=\xff\xfe\n", 2),
        (b"A=1\nKEY='never closed\n", 3),
        (b"A=1\nB=2\nc2Vj cmV0=\n", 3),
    ],
)
def test_an_error_shows_no_part_of_a_value(machine: Machine, raw: bytes, line: int) -> None:
    app = next((a for a in machine.apps if a.name == "shown"), None) or machine.app("shown", push=False)
    (app.tree.path / "my.env").write_bytes(raw)
    output = complaint(app.pushrod("secret", "import", "my.env"))
    assert output.where == f"line {line} of the file"
    assert "c2Vj" not in f"{output}"
    assert json.loads(app.must("secret", "list", "--json")) == []

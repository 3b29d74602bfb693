"""A `.env` file as Compose reads it."""

import random
from pathlib import Path

import pytest

from pushrod.adapters import compose_loader, dotenv
from pushrod.core.errors import HostError
from pushrod.system import processes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n", {"A": "1"}),
        ("A=true\nB=1e3\nC=0o7\nD=null\nE=~\n", {"A": "true", "B": "1e3", "C": "0o7", "D": "null", "E": "~"}),
        ("A=\n", {"A": ""}),
        ('KEY="-----BEGIN\nabc=\n-----END"\nB=2\n', {"KEY": "-----BEGIN\nabc=\n-----END", "B": "2"}),
        ('A="one\\ntwo"\nB=\'one\\ntwo\'\n', {"A": "one\ntwo", "B": "one\\ntwo"}),
        ('A="say \\"hi\\""\n', {"A": 'say "hi"'}),
        ("U=bob\nURL=postgres://${U}@db/x\n", {"U": "bob", "URL": "postgres://bob@db/x"}),
        ("A=${MISSING:-fallback}\nB=${MISSING-x}\n", {"A": "fallback", "B": "x"}),
        ("A='${NOT}'\n", {"A": "${NOT}"}),
        ("export A=1\n# B=2\nC=3 # said\nD='4 # kept'\n", {"A": "1", "C": "3", "D": "4 # kept"}),
        ("\ufeffA=1\r\nB=two words\r\n", {"A": "1", "B": "two words"}),
        ("COMPOSE_FILE=/etc/passwd\n", {"COMPOSE_FILE": "/etc/passwd"}),
        ("NAMED\n", {}),
        ("A-B=1\n1C=2\nÄ: 3\nA[0]=4\n-=5\n", {"A-B": "1", "1C": "2", "Ä": "3", "A[0]": "4", "-": "5"}),
        ("K=-----BEGIN X-----\\nYWJj\\n-----END X-----\n", {"K": "-----BEGIN X-----\\nYWJj\\n-----END X-----"}),
        ("", {}),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_a_file_is_read_as_compose_reads_it(text: str, expected: dict[str, str]) -> None:
    assert dotenv.read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("A=1\nswordfish phrase=2\n", 'A="swordfish\n', "A=1\nK=-----BEGIN KEY\nswordfish=\n-----END\n"),
        *("export K: -----BEGIN KEY\nswordfish=\n", "A=1\nSwordfishQ2x9Zk7Lm=\n"),
    ],
)
@pytest.mark.slow
def test_an_error_shows_no_value_of_the_file(text: str) -> None:
    with pytest.raises(HostError) as e:
        dotenv.read(text)
    assert "swordfish" not in f"{e.value.what}{e.value.where}{e.value.hint}{e.value.log}".lower()
    assert not text.startswith("A=1") or e.value.where == "line 2 of the file"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("A=1\nB=swordfish-${MUST:?say it}\n", "it needs the variable MUST, which has no value", 2),
        ("\nA=${MUST?}\n", "it needs the variable MUST, which has no value", 2),
        ("A=1\nX=2\nB=swordfish${B\n", "a `$` in it begins no valid reference to a variable", 3),
    ],
    ids=["required, with a message", "required", "not closed"],
)
def test_a_reference_that_cannot_be_resolved_is_named_with_its_line(text: str, what: str, line: int) -> None:
    with pytest.raises(HostError) as e:
        dotenv.read(text)
    assert (e.value.what, e.value.where) == (what, f"line {line} of the file")
    assert "swordfish" not in f"{e.value.what}{e.value.where}{e.value.hint}{e.value.log}"


@pytest.mark.slow
def test_random_files_are_read_as_compose_reads_them(tmp_path: Path) -> None:
    """Two hundred lines of random values, quoted in every way, compared with what a container would get."""
    made = random.Random(7)
    pieces = [
        "a",
        "B",
        "7",
        " ",
        "#",
        " #",
        "=",
        ":",
        "/",
        "\\n",
        "\\t",
        "\\",
        "ä",
        "${X}",
        "${N:-d}",
        "-",
        "'",
    ]
    lines = ["X=known"]
    for n in range(200):
        value = "".join(made.choices(pieces, k=made.randrange(8)))
        quote = made.choice(["", "'", '"'])
        value = value.replace("'", "").rstrip("\\") if quote != '"' else value.replace("\\", "")
        lines.append(f"{made.choice(['', 'export '])}V{n}={quote}{value}{quote}")
    text = "\n".join(lines) + "\n"
    (tmp_path / "compose.yaml").write_text("services:\n  it: {image: x, env_file: [my.env]}\n")
    (tmp_path / "my.env").write_text(text)
    argv = [*compose_loader.argv_of(), "--file", "compose.yaml", "config", "--format", "json"]
    done = processes.run(argv, cwd=tmp_path)
    assert done.status == 0, done.stderr
    import json

    loaded = json.loads(done.stdout)["services"]["it"]["environment"]
    assert dotenv.read(text) == {name: value.replace("$$", "$") for name, value in loaded.items()}


@pytest.mark.slow
def test_home_is_the_accounts_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert dotenv.read("D=${HOME}/data\nE='/~/x'\n") == {"D": "/home/ada/data", "E": "/~/x"}


@pytest.mark.slow
def test_the_work_directory_has_no_value() -> None:
    with pytest.raises(HostError) as refused:
        dotenv.read("A=1\nexport WD=${PWD}/data\n")
    assert refused.value.what == "WD refers to `${PWD}`, which has no value on a server"
    assert refused.value.where == "line 2 of the file"

"""A `.env` file as Compose reads it."""

import random
from pathlib import Path

import pytest

from pushrod.adapters import compose, dotenv
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
        ("", {}),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_it_is_read_as_compose_reads_it(text: str, expected: dict[str, str]) -> None:
    assert dotenv.read(text) == expected


@pytest.mark.parametrize("text", ["A=1\nswordfish phrase=2\n", 'A="swordfish\n'])
@pytest.mark.slow
def test_nothing_of_what_cannot_be_read_is_shown(text: str) -> None:
    with pytest.raises(HostError) as e:
        dotenv.read(text)
    assert "swordfish" not in f"{e.value.what}{e.value.where}{e.value.hint}{e.value.log}"


@pytest.mark.slow
def test_files_of_many_kinds_come_out_as_from_a_service_of_compose(tmp_path: Path) -> None:
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
    argv = [*compose.loader(), "--file", "compose.yaml", "config", "--format", "json"]
    done = processes.run(argv, cwd=tmp_path)
    assert done.status == 0, done.stderr
    import json

    told = json.loads(done.stdout)["services"]["it"]["environment"]
    assert dotenv.read(text) == {name: value.replace("$$", "$") for name, value in told.items()}

"""Text chosen by others is displayed and has no other effect; all output goes through one function."""

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pushrod
from pushrod.cli.output import Steps, print_error, print_json, print_table
from pushrod.cli.terminal import Styled, echo, echo_json, plain
from pushrod.core.errors import ReadyError

EVIL = "evil \x1b]0;title\x07\x1b[2J\x1b[1A\x9b2J \x00\x7f\u202etxt.exe\u2066\u2028\udc80 end"
TAME = "evil \\x1b]0;title\\x07\\x1b[2J\\x1b[1A\\x9b2J \\x00\\x7f\\u202etxt.exe\\u2066\\u2028\\udc80 end"


def _is_tame(text: str) -> bool:
    return all(c.isprintable() or c in "\t\xa0\u2009\u202f\u3000\u200c\u200d" for c in text)


def test_what_would_steer_a_terminal_is_shown_as_an_escape() -> None:
    assert plain(EVIL) == TAME


@pytest.mark.parametrize(
    "text", ["", "größe", "日本語\u3000x", "10\xa0000 €", "نمی\u200cخواهم", "👩\u200d💻", "a\tb", "e\u0301"]
)
def test_what_people_write_stays(text: str) -> None:
    assert plain(text) == text


@given(st.text())
def test_no_text_leaves_anything_else(text: str) -> None:
    assert _is_tame(plain(text))
    assert _is_tame(plain("\x1b[" + text + "m"))


@given(st.text(alphabet="\x1b[;m01a", max_size=40))
def test_colours_that_stay_are_whole_and_end_with_the_line(text: str) -> None:
    found = plain(text, colours=True)
    assert _is_tame(re.sub(r"\x1b\[[0-9;]*m", "", found))
    assert "\x1b" not in found or found.endswith("\x1b[0m")


def test_colours_go_unless_they_are_wanted_and_can_hide_nothing() -> None:
    assert plain("\x1b[31mred\x1b[0m") == "red"
    assert plain("\x1b[1;31mred", colours=True) == "\x1b[1;31mred\x1b[0m"
    for hides in (
        "8",
        "30",
        "40",
        "7",
        "5",
        "38;5;0",
        "30;47",
        "0;8",
        "1;38;2;0;0;0",
        "37",
        "97",
        "48:2:0:0:0",
    ):
        assert plain(f"\x1b[{hides}mtext", colours=True) == "text", hides


def test_what_is_left_of_a_colour_makes_no_other_sequence() -> None:
    assert plain("\x1b\x1b[0m[2J", colours=False) == "\\x1b[2J"
    assert plain("\x1b\x1b[0m[2J", colours=True) == "\\x1b\x1b[0m[2J\x1b[0m"


def test_a_carriage_return_counts_at_the_end_alone() -> None:
    assert plain("a line of Windows\r") == "a line of Windows"
    assert plain("hidden\rshown") == "hidden\\rshown"


def test_every_door_is_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    echo("one ", Styled(EVIL, bold=True), " two")
    print_table(("A",), [(EVIL,)])
    print_error(ReadyError(EVIL, where=EVIL, hint=EVIL, log=(EVIL,)))
    steps = Steps()
    steps.line(EVIL)
    steps.note(EVIL)
    steps.end("prepare", EVIL, 1.0)
    out, err = capsys.readouterr()
    assert all(map(_is_tame, out.split("\n")))
    assert all(map(_is_tame, err.split("\n")))
    assert (out.count(TAME), err.count(TAME)) == (2, 7)


def test_a_message_of_several_lines_cannot_pass_for_another(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ReadyError("it ended\npushrod: all is well\n  to do:  nothing"))
    lines = capsys.readouterr().err.split("\n")
    assert [line for line in lines if line.startswith(("pushrod:", "  to do:"))] == ["pushrod: it ended"]


def test_json_keeps_the_value_and_reaches_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"subject": EVIL, "größe": 1})
    echo_json({"line": EVIL}, indent=None)
    print_json(["\x7f"])
    first, second, third = capsys.readouterr().out.replace("}\n", "}\0").split("\0")
    assert json.loads(first) == {"subject": EVIL, "größe": 1}
    assert json.loads(second) == {"line": EVIL}
    assert json.loads(third) == ["\x7f"]
    assert "größe" in first
    assert all(map(_is_tame, (first + second + third).split("\n")))


# ---- that there is no other way to print ------------------------------------------------------------------------

ALONE = {
    # Programs that run without pushrod, as copies below ROOT or by systemd: their output goes to a journal or a
    # log.
    "engines/docker/builder.py",
    "engines/docker/layers.py",
    "engines/docker/bring_up.py",
    "engines/docker/watchdog.py",
    "engines/embedded/supervisord_main.py",
    "engines/embedded/supervisord_watchdog.py",
    "engines/embedded/exec_wrapper.py",
    "engines/embedded/supervisord_plugin.py",
    "adapters/landlock.py",
    "provisioning/installer.py",
}
DOOR = "cli/terminal.py"
PRINTS = {
    "echo",
    "secho",
    "style",
    "prompt",
    "confirm",
    "pager",
    "echo_via_pager",
    "progressbar",
    "show",
    "print",
}
WRITES = {"write", "writelines"}


@pytest.mark.slow
def test_nothing_is_printed_past_the_door() -> None:
    source = Path(pushrod.__file__).parent
    found = []
    for path in sorted(source.rglob("*.py")):
        name = str(path.relative_to(source))
        if name.startswith("template/") or name in ALONE or name == DOOR:
            continue
        found += [f"{name}:{line}: {what}" for line, what in _doors(ast.parse(path.read_text()))]
    assert found == []


def _doors(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            last = call.rpartition(".")[2]
            asks_click = call.startswith("click.") and last in PRINTS
            writes = last in WRITES and ("stdout" in call or "stderr" in call)
            if asks_click or writes or call == "print" or call.endswith(".show"):
                found.append((node.lineno, call))
        elif isinstance(node, ast.ImportFrom) and node.module == "click":
            found += [(node.lineno, alias.name) for alias in node.names if alias.name in PRINTS]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "print('x')",
        "click.echo(subject)",
        "click.secho(subject)",
        "from click import echo",
        "sys.stdout.write(subject)",
        "sys.stderr.buffer.write(raw)",
        "error.show()",
        "click.prompt(name)",
        "click.style(x)",
    ],
)
def test_other_doors_are_seen(code: str) -> None:
    assert _doors(ast.parse(code))

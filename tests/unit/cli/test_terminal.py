"""Text chosen by others is displayed and has no other effect; all output goes through one function."""

import ast
import json
from pathlib import Path

import pytest

import pushrod
from pushrod.cli.output import Steps, print_error, print_json, print_table
from pushrod.cli.terminal import Styled, echo, echo_json
from pushrod.core.errors import ReadyError

EVIL = "evil \x1b]0;title\x07\x1b[2J\x1b[1A\x9b2J \x00\x7f\u202etxt.exe\u2066\u2028\udc80 end"
TAME = "evil \\x1b]0;title\\x07\\x1b[2J\\x1b[1A\\x9b2J \\x00\\x7f\\u202etxt.exe\\u2066\\u2028\\udc80 end"


def _is_tame(text: str) -> bool:
    return all(c.isprintable() or c in "\t\xa0\u2009\u202f\u3000\u200c\u200d" for c in text)


def test_every_output_function_sanitizes_its_text(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_multiline_message_cannot_imitate_another_message(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(ReadyError("it ended\npushrod: all is well\n  to do:  nothing"))
    lines = capsys.readouterr().err.split("\n")
    assert [line for line in lines if line.startswith(("pushrod:", "  to do:"))] == ["pushrod: it ended"]


def test_json_keeps_the_value_and_escapes_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
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
    "engines/docker/watch_log.py",
    "system/relay_client.py",
    "engines/docker/watchdog.py",
    "engines/embedded/listener.py",
    "engines/embedded/namespace.py",
    "engines/embedded/netcat.py",
    "engines/embedded/supervisord_main.py",
    "engines/embedded/supervisord_watchdog.py",
    "engines/embedded/exec_wrapper.py",
    "engines/embedded/supervisord_plugin.py",
    "adapters/landlock.py",
    "provisioning/installer.py",
    # A client in a process of its own, which escapes what the server answers (its unit test).
    "adapters/redis_client.py",
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
def test_only_the_terminal_module_prints() -> None:
    source = Path(pushrod.__file__).parent
    result = []
    for path in sorted(source.rglob("*.py")):
        name = str(path.relative_to(source))
        if name.startswith("template/") or name in ALONE or name == DOOR:
            continue
        result += [f"{name}:{line}: {what}" for line, what in _doors(ast.parse(path.read_text()))]
    assert result == []


def _doors(tree: ast.AST) -> list[tuple[int, str]]:
    result = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            last = call.rpartition(".")[2]
            asks_click = call.startswith("click.") and last in PRINTS
            writes = last in WRITES and ("stdout" in call or "stderr" in call)
            if asks_click or writes or call == "print" or call.endswith(".show"):
                result.append((node.lineno, call))
        elif isinstance(node, ast.ImportFrom) and node.module == "click":
            result += [(node.lineno, alias.name) for alias in node.names if alias.name in PRINTS]
    return result


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
def test_other_ways_to_print_are_detected(code: str) -> None:
    assert _doors(ast.parse(code))

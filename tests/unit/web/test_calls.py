"""A call reaches the door on its standard input, before what the verb reads; nothing is in its arguments."""

import sys

import msgspec

from pushrod.web.calls import Call, Calls

CALL = Call("token", ("logs", "--app", "shop"), "192.0.2.1")
ECHO = "import sys; print(sys.argv[1:]); print(sys.stdin.read(), end=''); sys.exit(3)"


def test_a_call_and_its_input_are_on_standard_input() -> None:
    done = Calls([sys.executable, "-c", ECHO])(CALL, stdin="a value")
    arguments, call, value = done.stdout.split("\n")
    assert (done.status, arguments, value) == (3, "[]", "a value")
    assert msgspec.json.decode(call, type=Call) == CALL


def test_output_is_passed_on_as_it_appears() -> None:
    seen: list[str] = []
    assert Calls([sys.executable, "-c", ECHO]).watched(CALL, seen.append) == 3
    assert len(seen) == 2

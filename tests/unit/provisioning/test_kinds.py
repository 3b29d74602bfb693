"""What a key may give for a parameter of each kind."""

from pathlib import Path
from typing import Any

import pytest

from pushrod.core.errors import UnknownNameError
from pushrod.provisioning import kinds
from pushrod.provisioning.kinds import Reach

SHOP = Reach(("shop",))

BAD: list[tuple[kinds.Kind, list[Any]]] = [
    (kinds.app, ["zoo"]),
    (kinds.flag, [None, "true", 1]),
    (kinds.number(1, 9), [0, 10, -1, "5", 5.0]),
    (kinds.word, ["", "-x", "--rm", "a/b", "..", "../x", ".env", "a b", "a\n", "x" * 200, None, ("a", "-b")]),
    (kinds.perhaps, ["-x", "a/b", ".."]),
    (kinds.count, ["web", "web=", "web=-1", "-web=1", "web=1000", "w/b=1", ("web=1", "--root=/")]),
    (kinds.commit, ["", "HEAD", "--help", "-h", "f" * 39, "F" * 40, "main", "f" * 40 + "\n"]),
    (kinds.text, ["--x", "a b", "x" * 65, "$(id)", "::1%eth0"]),
    (kinds.sent, ["/etc/passwd", "", None, Path("/dev/stdin"), Path("--")]),
    (kinds.not_given, ["", "/srv", "-"]),
    (kinds.here, [Path("/srv"), Path(".."), Path("-"), "."]),
    (kinds.program, [(), ("-c",), ("--rm", "x"), ("--", "x"), ("-",)]),
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in BAD for value in values])
def test_a_value_of_the_wrong_kind_is_refused(kind: kinds.Kind, value: Any) -> None:
    try:
        assert kind(value, SHOP)
    except UnknownNameError as refused:
        assert refused.what


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (kinds.app, None),
        (kinds.app, "shop"),
        (kinds.number(1, 9), None),
        (kinds.number(1, 9), 9),
        (kinds.word, "2026-11-28T20-04-40Z"),
        (kinds.word, ("A", "_B")),
        (kinds.perhaps, ""),
        (kinds.count, ("web=1", "api-2=100")),
        (kinds.commit, "0a" * 20),
        (kinds.text, ("203.0.113.0/24", "::1", "2001:db8::/32")),
        (kinds.text, ""),
        (kinds.sent, "-"),
        (kinds.sent, Path("-")),
        (kinds.not_given, None),
        (kinds.here, Path()),
        (kinds.program, ("sh", "-c", "--root /x")),
    ],
)
def test_a_value_of_the_right_kind_is_accepted(kind: kinds.Kind, value: Any) -> None:
    assert kind(value, SHOP) == ""

"""x-pushrod.notify: names of variables, never addresses."""

import pytest

from pushrod.core.errors import ManifestError
from pushrod.manifest import notify
from pushrod.manifest.document import Key


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, ()), (["CHAT_WEBHOOK"], ("CHAT_WEBHOOK",)), (["A", "B", "A"], ("A", "B"))],
)
def test_names(value: object, names: tuple[str, ...]) -> None:
    assert notify.read(Key("x-pushrod.notify", value)) == names


@pytest.mark.parametrize(
    "value",
    [
        ["https://hooks.example.com/x"],
        ["mailto:ann@example.com"],
        ["/bin/true"],
        "CHAT_WEBHOOK",
        [""],
        list("ABCDEF"),
    ],
)
def test_everything_else_is_refused(value: object) -> None:
    with pytest.raises(ManifestError, match=r"expected"):
        notify.read(Key("x-pushrod.notify", value))

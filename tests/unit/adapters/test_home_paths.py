"""`${HOME}` in a compose file, which the loader replaces by a mark."""

import pytest

from pushrod.adapters import home_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/~", "/home/ada"),
        ("/~/data", "/home/ada/data"),
        ("run --dir=/~/data:/~", "run --dir=/home/ada/data:/home/ada"),
        ("http://host/~", "http://host/~"),
        ("http://host/~ada/", "http://host/~ada/"),
        ("/srv/~/data", "/srv/~/data"),
    ],
)
def test_texts_have_the_home_of_the_account(text: str, shown: str) -> None:
    service = {"environment": {"H": text}, "command": [text], "build": {"args": {"H": text}}}
    expected = {"environment": {"H": shown}, "command": [shown], "build": {"args": {"H": shown}}}
    assert home_paths.shown({"services": {"web": service}}, "/home/ada") == {"services": {"web": expected}}


def test_paths_keep_the_mark() -> None:
    service = {
        "build": {"context": "/~/app"},
        "volumes": [{"type": "bind", "source": "/~/data", "target": "/data"}],
    }
    document = {"services": {"web": service, "other": None}}
    assert home_paths.shown(document, "/home/ada")["services"]["web"] == {
        "build": {"context": "/~/app"},
        "volumes": [{"type": "bind", "source": "/~/data", "target": "/data"}],
    }
    assert home_paths.shown({}, "/home/ada") == {}

"""Errors of apps that do not start on a Docker host name the cause and the fix: one push for each cause."""

import pytest

from devtools.apps import complaint
from devtools.lab.ground import DOCKERFILE, Ground, Shop, code

pytestmark = [pytest.mark.lab, pytest.mark.long]

PROGRAM = code().replace('"/": state', '"/": lambda: VERSION')  # the parts that need no stores
WRONG_PROCESSOR = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\x00\xb7\x00\x01" + b"\0" * 300


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Shop:
    app = ground.app("shop", tree())
    done = app.push()
    assert done.ok, done.err
    return app


def tree(keys: str = "", dockerfile: str = "", more: str = "") -> dict[str, str | bytes]:
    """An app with additional keys of its service, lines of its Dockerfile, and services."""
    compose = (
        'x-pushrod: {domains: [shop.localhost]}\nservices:\n  web:\n    build: .\n    ports: ["8080:8080"]\n'
    )
    return {
        "compose.yaml": f"{compose}    x-pushrod: {{health: /healthz}}\n{keys}{more}",
        "Dockerfile": DOCKERFILE.replace("USER nobody\n", f"{dockerfile}USER nobody\n"),
        "app.py": PROGRAM,
        "dir/file": "text",
        "bin/odd": "#!/bin/nowhere\n",
        "bin/bare": "no first line\n",
        "bin/foreign": WRONG_PROCESSOR,
    }


COPIED = "COPY bin bin\nRUN chmod 755 bin/*\n"
WORKER = "  worker:\n    build: .\n    command: nope\n"

REASONS = {
    "no such program": (tree("    command: nope --port 1\n"), "`nope` is not in the image"),
    "no such file": (tree('    command: ["/srv/nope.sh"]\n'), "`/srv/nope.sh` is not in the image"),
    "not executable": (tree("    command: /app/app.py\n"), "`/app/app.py` may not be run"),
    "a directory": (tree("    command: /app\n"), "`/app` may not be run"),
    "no interpreter": (tree("    command: bin/odd\n", COPIED), "its interpreter does not"),
    "another processor": (tree("    command: bin/foreign\n", COPIED), "cannot run on this host"),
    "no first line": (tree("    command: bin/bare\n", COPIED), "cannot run on this host"),
    "no such user": (tree("    user: nobodyhere\n"), "the image has no user `nobodyhere`"),
    "a directory over a file": (
        tree("    volumes: ['./dir:/app/app.py']\n"),
        "/app/app.py is a file on one side and a directory on the other",
    ),
    "no directory to work in": (
        tree("    working_dir: /app/app.py\n"),
        "the working directory /app/app.py is not a directory",
    ),
    "a worker": (tree(more=WORKER), "`nope` is not in the image"),
    "a service that waits": (
        tree("    depends_on: [worker]\n", more=WORKER),
        "`nope` is not in the image",
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_an_app_that_does_not_start_is_explained(shop: Shop, reason: str) -> None:
    files, message = REASONS[reason]
    good = shop.tree.head()
    shop.tree.commit(files, reason)
    done = shop.push()
    result = complaint(done)
    shop.tree.reset(good)
    print(done.err)
    assert message in result.what
    assert "failed to start containers" not in result.what
    assert "OCI runtime" not in result.what
    assert result.to_do
    assert shop.get().status == 200

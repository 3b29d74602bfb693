"""The same projects where the kernel gives an ordinary user no namespaces: each is refused by `pushrod plan` with the
name of its service, or answers what its code says.
"""

from collections.abc import Callable

import pytest

from devtools.apps import PUSHROD, App, Done, Machine, run
from tests.integration.laptop_shapes import SHAPES
from tests.integration.test_laptop_shapes import made
from tests.unit.engines.embedded import kernel

pytestmark = pytest.mark.integration

LACKING = {
    "a port in the code, and Redis by its name": ("web: `redis` is the name of a service", "app.py:2"),
    "a script that waits with nc, and a database by its parts": (
        "web: `/code/app.py` is a path of its image",
        "services.web.command",
    ),
    "the superuser of the image, in an address in the code": ("web: `db` is the name", "app.py:2"),
    "a Redis with a password": ("web: `cache` is the name", "app.py:2"),
    "a script of the project, run by sh": ("web: `/code/data/name.txt` is a path", "app.py:2"),
    "services that call each other by name": ("worker: `api` is the name", "worker.py:4"),
    "IPv6, and two ports of one program": ("web: `web` is the name", "app.py:4"),
    "static files that the image's build collects": (
        "web: `/code/static` is a path",
        "services.web.environment.STATIC",
    ),
    "a worker and a scheduler beside the site": ("web: `redis` is the name", "app.py:4"),
    "a job that must end before the site starts": ("web: `db` is the name", "app.py:3"),
    "a pulled image of Python that runs the commit": ("web: `/app/name.txt` is a path", "app.py:2"),
    "SQLite in a volume": ("web: `db` cannot be mounted at /data", "services.web.volumes"),
    "a health check that fetches a path, and a service that waits for it": (
        ": `api` is the name",
        "app.py:2",
    ),
    "settings mounted from the commit, read-only, and memory to write to": (
        "cannot be mounted at",
        "services.web.",
    ),
}
# The directory is this machine's; whatever is in it is found by its relative path.
ELSEWHERE = {
    "several stages, and an environment copied between them": "hello/",
    "code mounted over the image's, as for development": "development/",
}
SEEN = ("services that call each other by name", "a pulled image of Python that runs the commit")


@pytest.fixture(scope="module")
def plain(new_machine: Callable[[], Machine]) -> Machine:
    return new_machine()


def without_namespaces(app: App, *argv: str) -> Done:
    return run(kernel.refusing("namespaces", argv), app.tree.path, app.tree.env)


def check_refused(app: App, words: str, where: str) -> None:
    planned = without_namespaces(app, *PUSHROD, "plan", "--app", app.name)
    assert planned.status == 3, planned.out
    assert words in planned.err, planned.err
    assert where in planned.err, planned.err
    assert (
        "the kernel of this machine refuses mount namespaces (unshare: Operation not permitted)"
        in planned.err
    )
    assert "allow user namespaces" in planned.err


@pytest.mark.parametrize("name", SEEN)
def test_a_project_that_needs_names_or_paths_is_refused_at_plan(name: str, plain: Machine) -> None:
    check_refused(made(plain, name, "n"), *LACKING[name])


@pytest.mark.long
@pytest.mark.parametrize("name", SHAPES)
def test_each_is_refused_at_plan_or_answers_right(name: str, plain: Machine) -> None:
    app = made(plain, name, "n")
    if name in LACKING:
        check_refused(app, *LACKING[name])
        return
    try:
        done = without_namespaces(app, "git", "push", "--no-progress", "pushrod", "HEAD:main")
        assert done.ok, done.err
        answer = app.get(SHAPES[name].path)
        assert answer.body.startswith(ELSEWHERE.get(name, SHAPES[name].answer)), answer.body
    finally:
        app.must("down")

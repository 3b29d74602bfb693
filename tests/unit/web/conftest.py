"""The page in front of a root with one app; what it calls is noted, and answered by the test."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import pytest
from starlette.testclient import TestClient

from pushrod.core.traits import EMBEDDED
from pushrod.core.values import ProcessState
from pushrod.state.apps import App, Root
from pushrod.system.processes import Completed
from pushrod.web import pages
from pushrod.web.access import Access
from pushrod.web.answers import Site
from pushrod.web.calls import Call, Calls
from pushrod.web.guard import Hosts
from pushrod.web.roles import Role
from pushrod.web.runs import Runs
from pushrod.web.streams import Limit

HOST = "0123456789abcdef.pushrod.localhost:9181"
ORIGIN = f"http://{HOST}"


class Answers(Calls):
    """Notes the calls, and answers each with `output` and `status`."""

    def __init__(self) -> None:
        super().__init__(["false"])
        self.calls: list[tuple[str, ...]] = []
        self.inputs: list[str] = []
        self.output, self.errors, self.status = "", "", 0

    def __call__(self, call: Call, *, stdin: str = "", timeout: float = 60.0) -> Completed:
        self.calls.append(call.words)
        self.inputs.append(stdin)
        return Completed(self.status, self.output, self.errors)

    def watched(self, call: Call, on_line: Callable[[str], None], *, stdin: str = "") -> int:
        self.calls.append(call.words)
        for line in self.output.split("\n"):
            on_line(line)
        return self.status

    async def _lines(self) -> AsyncIterator[str]:
        for line in self.output.split("\n"):
            yield line

    def followed(self, call: Call) -> AsyncIterator[str]:
        self.calls.append(call.words)
        return self._lines()


class Web:
    """The page, and visitors of it."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.who = Access(root)
        self.answers = Answers()
        self.states: dict[str, Sequence[ProcessState]] = {}
        self.domain = ""
        self.runs = Runs(self.answers)

    @property
    def site(self) -> Site:
        """The page's parts."""
        return Site(
            self.root,
            EMBEDDED,
            self.who,
            self._processes,
            self.answers,
            Hosts(9181, self.domain),
            self.runs,
            Limit(),
        )

    def _processes(self, _apps: Sequence[App], _call: Call) -> Mapping[str, Sequence[ProcessState]]:
        return self.states

    def client(self, base: str = ORIGIN) -> TestClient:
        """Somebody without a session."""
        peer = None if base.startswith("https:") else ("127.0.0.1", 50000)  # the edge's socket has no address
        return TestClient(
            pages.make(self.site),
            base_url=base,
            follow_redirects=False,
            raise_server_exceptions=False,
            client=peer,  # type: ignore[arg-type]
        )

    def visitor(self, role: Role = "viewer", apps: Sequence[str] = (), name: str = "ann") -> TestClient:
        """A member who has logged in."""
        client = self.client()
        token = self.who.invite(name, role, apps)
        answer = client.post("/enter", data={"link": token}, headers={"origin": ORIGIN})
        assert answer.status_code == 303
        return client


@pytest.fixture
def web(app: App) -> Web:
    return Web(app.root)

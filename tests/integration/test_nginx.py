"""The edge with a real nginx in front of real backends: what it serves, and how it switches.

Under root, nginx runs as the account for children; otherwise as the caller.
"""

import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import contains
from pathlib import Path
from typing import Any

import pytest

from devtools.servers import free_port
from pushrod.adapters import nginx
from pushrod.adapters.nginx import Edge, Switch, generations, reload, rotation, tree
from pushrod.adapters.nginx import edge as edges
from pushrod.core.errors import EdgeError, Interrupted
from pushrod.core.site import Site
from pushrod.system import files, network, processes, waits
from tests.integration.edges import PATIENCE, Backend, InFlight, Started, ask, site

pytestmark = pytest.mark.integration


def generation(edge: Edge) -> str:
    """The generation from which a worker answers."""
    mark = edge.mark()
    assert mark is not None
    return mark.generation


# ---- what a site does ----------------------------------------------------------------------------------------


def test_a_site_is_served_with_its_release_number(edge: Edge, backend: Callable[[str], Backend]) -> None:
    port = free_port()
    switch = edge.switch(site("shop", 7, backend("one"), port=port))
    assert switch.reloaded
    assert generation(edge) == switch.generation
    answer = ask(port)
    assert (answer.status, answer.body) == (200, "one")
    assert answer.headers["X-Pushrod-Release"] == "7"
    assert answer.headers["Server"] == "nginx"


def test_the_backend_gets_the_client_headers(edge: Edge, backend: Callable[[str], Backend]) -> None:
    port = free_port()
    edge.switch(site("shop", 1, backend("one"), port=port))
    answer = ask(port, "/headers", Host="shop.example:81")
    seen = json.loads(answer.body)
    assert {k: seen[k] for k in ("Host", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto")} == {
        "Host": "shop.example:81",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "http",
    }
    assert seen["X-Request-Id"] == answer.headers["X-Request-Id"]
    assert len(seen["X-Request-Id"]) == 32
    assert "Connection" not in seen


def test_a_proxy_on_this_machine_is_trusted_about_its_client(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port = free_port()
    edge.switch(site("shop", 1, backend("one"), port=port))
    asked = {"X_Forwarded_For": "198.51.100.9, 203.0.113.7", "X_Forwarded_Proto": "https"}
    seen = json.loads(ask(port, "/headers", **asked).body)
    assert seen["X-Forwarded-For"] == seen["X-Real-IP"] == "203.0.113.7"
    assert seen["X-Forwarded-Proto"] == "https"
    odd = json.loads(ask(port, "/headers", X_Forwarded_Proto="gopher").body)
    assert odd["X-Forwarded-Proto"] == "http"


def test_a_web_socket_is_passed_on_and_no_other_upgrade(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port = free_port()
    edge.switch(site("shop", 1, backend("one"), port=port))
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        with s.makefile("rb") as answer:
            head = list(iter(answer.readline, b"\r\n"))
            assert head[0] == b"HTTP/1.1 101 Switching Protocols\r\n"
            s.sendall(b"hello\n")
            assert answer.readline() == b"HELLO\n"
    assert "Upgrade" not in json.loads(ask(port, "/headers", Connection="Upgrade", Upgrade="h2c").body)


def test_text_is_compressed_for_clients_that_accept_it(edge: Edge, backend: Callable[[str], Backend]) -> None:
    port = free_port()
    edge.switch(site("shop", 1, backend("one"), port=port))
    compressed = ask(port, "/long", Accept_Encoding="gzip")
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert compressed.headers["Vary"] == "Accept-Encoding"
    assert ask(port, "/long").body == "one" * 2000


def test_the_access_log_has_a_json_line_without_the_query(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port, one = free_port(), backend("one")
    edge.switch(site("shop", 7, one, port=port))
    answer = ask(port, '/a/"b"?token=secret')
    log = edge.logs / "access.log"
    assert waits.wait_until(lambda: log.read_text().endswith("\n"), PATIENCE)
    assert "secret" not in log.read_text()
    line = json.loads(log.read_text())
    assert line.pop("time")[:2] == "20"
    assert 0 <= line.pop("seconds") < PATIENCE
    assert float(line.pop("upstream_seconds")) < PATIENCE
    assert line == {
        "app": "shop",
        "release": 7,
        "request": answer.headers["X-Request-Id"],
        "client": "127.0.0.1",
        "method": "GET",
        "path": '/a/"b"',
        "status": 200,
        "bytes": 3,
        "upstream": f"127.0.0.1:{one.port}",
        "upstream_status": "200",
        "cache": "",
    }


def test_a_request_that_is_not_http_is_logged_as_json_too(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port = free_port()
    edge.switch(site("shop", 7, backend("one"), port=port))
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b"400" in s.recv(4096)
    log = edge.logs / "access.log"
    assert waits.wait_until(lambda: log.read_text().endswith("\n"), PATIENCE)
    assert json.loads(log.read_text())["status"] == 400


def test_an_app_that_does_not_answer_gets_a_plain_502(edge: Edge) -> None:
    port = free_port()
    edge.switch({"shop": Site(app="shop", release=7, port=port, backends=(f"127.0.0.1:{free_port()}",))})
    answer = ask(port, "/a")
    request = answer.headers["X-Request-Id"]
    assert answer.status == 502
    assert answer.body == f"502: shop is not answering. Try again in a moment. Request {request}.\n"
    assert answer.headers["X-Pushrod-Release"] == "7"
    assert answer.headers["Retry-After"] == "1"


def test_an_error_of_the_app_is_passed_on(edge: Edge, backend: Callable[[str], Backend]) -> None:
    port = free_port()
    edge.switch(site("shop", 7, backend("busy"), port=port))
    answer = ask(port, "/refuse")
    assert (answer.status, answer.body) == (503, "busy")


def test_with_one_instance_down_the_other_gets_non_idempotent_requests(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port, one = free_port(), backend("one")
    edge.switch(
        {"shop": Site(app="shop", release=7, port=port, backends=(f"127.0.0.1:{free_port()}", one.address))}
    )
    answers = [ask(port, method="POST", body=f"order {n}") for n in range(8)]
    assert [(a.status, a.body) for a in answers] == [(200, f"order {n}") for n in range(8)]


def test_the_port_of_a_removed_app_is_closed(edge: Edge, backend: Callable[[str], Backend]) -> None:
    shop, blog = free_port(), free_port()
    edge.switch({**site("shop", 1, backend("shop"), port=shop), **site("blog", 1, backend("b"), port=blog)})
    edge.switch({"shop": None})
    assert set(edge.sites()) == {"blog"}
    assert ask(blog).body == "b"
    assert waits.wait_until(lambda: not network.accepts(shop), PATIENCE)


# ---- switching -----------------------------------------------------------------------------------------------


def test_a_request_in_flight_is_finished_by_the_release_that_began_it(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port, one, two = free_port(), backend("one"), backend("two")
    edge.switch(site("shop", 1, one, port=port))
    slow = InFlight(port)
    assert one.asked.wait(PATIENCE)
    switch = edge.switch(site("shop", 2, two, port=port))
    fresh = ask(port)
    assert (fresh.body, fresh.headers["X-Pushrod-Release"]) == ("two", "2")
    assert not edge.drained(switch, 0.3)
    one.may_answer.set()
    answer = slow.answer()
    assert (answer.status, answer.body, answer.headers["X-Pushrod-Release"]) == (200, "one", "1")
    assert edge.drained(switch, PATIENCE)


def test_after_a_switch_no_new_connection_reaches_the_old_release(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port, backends = free_port(), [backend("one"), backend("two")]
    edge.switch(site("shop", 1, backends[1], port=port))
    for release in range(2, 7):
        edge.switch(site("shop", release, backends[release % 2], port=port))
        assert {ask(port).headers["X-Pushrod-Release"] for _ in range(20)} == {str(release)}


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_switch_is_over_when_no_old_worker_accepts(
    running: Started, edge: Edge, backend: Callable[[str], Backend]
) -> None:
    new_sites = site("shop", 1, backend("one"), port=free_port())
    old = generation(edge)
    switching = threading.Thread(target=edge.switch, args=(new_sites,), daemon=True)
    with frozen(running.workers()[0]):
        switching.start()
        assert waits.wait_until(lambda: generation(edge) != old, PATIENCE)
        assert not waits.wait_until(lambda: not switching.is_alive(), 0.5)
    switching.join(PATIENCE)
    assert not switching.is_alive()


def test_one_answer_of_the_new_generation_confirms_a_switch(
    running: Started, edge: Edge, backend: Callable[[str], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment old and new workers accept side by side, so an old one may answer after a new one."""
    old, mark, answers = edge.mark(), Edge.mark, list[nginx.Mark]()
    assert old is not None

    def once(self: Edge) -> nginx.Mark | None:
        answer = mark(self)
        if answer and answer.generation != old.generation:
            answers.append(answer)
        return old if len(answers) > 1 else answer

    port, done = free_port(), []
    new_sites = site("shop", 1, backend("one"), port=port)
    switching = threading.Thread(target=lambda: done.append(edge.switch(new_sites)), daemon=True)
    monkeypatch.setattr(reload, "CONFIRM_BUDGET", 3.0)
    with frozen(running.workers()[0]):
        monkeypatch.setattr(Edge, "mark", once)
        switching.start()
        assert waits.wait_until(lambda: len(answers) > 0, PATIENCE)
    switching.join(PATIENCE)
    assert [switch.generation for switch in done] == [answers[0].generation]
    assert ask(port).body == "one"


def test_a_worker_that_died_is_not_waited_for(running: Started, edge: Edge) -> None:
    """Dead, but not yet reaped by a busy master."""
    first, second = running.workers()
    with frozen(edge._master().pid):
        os.kill(first, signal.SIGKILL)
        assert edge.drained(Switch("", (first,)), PATIENCE)
        assert running.workers() == (second,)


def test_nginx_limits_the_lifetime_of_old_workers(
    started: Started, backend: Callable[[str], Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "DRAIN_BUDGET", 1.0)
    port, one, edge = free_port(), backend("one"), started.edge
    edge.place(site("shop", 1, one, port=port))
    started.start()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as s:
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.asked.wait(PATIENCE)
        switch = edge.switch(site("shop", 2, backend("two"), port=port))
        assert edge.drained(switch, PATIENCE)
        assert s.recv(4096) == b""


def test_a_busy_kept_connection_sees_no_failure_over_several_switches(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    port, backends = free_port(), [backend("one"), backend("two")]
    edge.switch(site("shop", 1, backends[0], port=port))
    failures: list[str] = []
    releases: set[str] = set()
    over = threading.Event()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        while not over.is_set():
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as e:
                failures.append(repr(e))
                connection.close()
                continue
            releases.add(response.headers["X-Pushrod-Release"])
            if response.status != 200:
                failures.append(str(response.status))
        connection.close()

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    for release in range(2, 6):
        switch = edge.switch(site("shop", release, backends[release % 2], port=port))
        assert waits.wait_until(partial(contains, releases, str(release)), PATIENCE)
        assert edge.drained(switch, PATIENCE)
    over.set()
    thread.join(PATIENCE)
    assert failures == []
    assert releases == {"1", "2", "3", "4", "5"}


def test_a_switch_to_the_served_sites_does_nothing(
    running: Started, edge: Edge, backend: Callable[[str], Backend]
) -> None:
    new_sites = site("shop", 1, backend("one"), port=free_port())
    first = edge.switch(new_sites)
    assert edge.drained(first, PATIENCE)
    workers = running.workers()
    assert edge.switch(new_sites) == Switch(first.generation)
    assert running.workers() == workers


def test_an_unchanged_switch_still_names_the_draining_workers(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    """A command that was killed while draining resumes here."""
    port, one = free_port(), backend("one")
    edge.switch(site("shop", 1, one, port=port))
    InFlight(port)
    assert one.asked.wait(PATIENCE)
    new_sites = site("shop", 2, backend("two"), port=port)
    switch = edge.switch(new_sites)
    assert waits.wait_until(lambda: len(edge.switch(new_sites).workers) == 1, PATIENCE)
    again = edge.switch(new_sites)
    assert not again.reloaded
    assert set(again.workers) < set(switch.workers)
    one.may_answer.set()
    assert edge.drained(again, PATIENCE)


def test_a_linked_tree_that_was_not_loaded_is_loaded(edge: Edge, backend: Callable[[str], Backend]) -> None:
    """A command that was killed between the link and the signal resumes here."""
    port = free_port()
    new_sites = site("shop", 1, backend("one"), port=port)
    generation = edge._candidate(new_sites)
    files.point(edge.current, f"trees/{generation}")
    assert not network.accepts(port)
    switch = edge.switch(new_sites)
    assert (switch.generation, switch.reloaded) == (generation, True)
    assert ask(port).body == "one"


def test_only_the_last_trees_are_kept(edge: Edge, backend: Callable[[str], Backend]) -> None:
    port, one = free_port(), backend("one")
    made = [edge.switch(site("shop", n, one, port=port)).generation for n in range(1, 6)]
    assert {p.name for p in edge.trees.iterdir()} == set(made[-generations.KEPT_TREES :])


def test_switches_at_the_same_time_do_not_undo_each_other(
    edge: Edge, backend: Callable[[str], Backend]
) -> None:
    apps = ["shop", "blog", "wiki", "mail"]
    ports = {app: free_port() for app in apps}
    backends = {app: backend(app) for app in apps}

    def deploy(app: str) -> None:
        for release in (1, 2):
            edge.switch(site(app, release, backends[app], port=ports[app]))

    threads = [threading.Thread(target=deploy, args=(app,)) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {app: s.release for app, s in edge.sites().items()} == dict.fromkeys(apps, 2)
    for app in apps:
        answer = ask(ports[app])
        assert (answer.body, answer.headers["X-Pushrod-Release"]) == (app, "2")


# ---- what can go wrong ---------------------------------------------------------------------------------------


@dataclass
class Before:
    """An edge that serves release 1, and the check that a failure has not changed that."""

    edge: Edge
    port: int
    one: Backend
    two: Backend
    tree: Path
    trees: set[str]

    def next(self) -> dict[str, Site | None]:
        return site("shop", 2, self.two, port=self.port)

    def assert_untouched(self) -> None:
        assert self.edge.current.readlink() == self.tree
        assert {p.name for p in self.edge.trees.iterdir()} == self.trees
        assert generation(self.edge) == self.tree.name
        answer = ask(self.port)
        assert (answer.body, answer.headers["X-Pushrod-Release"]) == ("one", "1")


@pytest.fixture
def before(edge: Edge, backend: Callable[[str], Backend]) -> Before:
    port, one, two = free_port(), backend("one"), backend("two")
    edge.switch(site("shop", 1, one, port=port))
    trees = {p.name for p in edge.trees.iterdir()}
    return Before(edge, port, one, two, edge.current.readlink(), trees)


def test_a_configuration_that_nginx_refuses_changes_nothing(
    before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    render = tree.render_tree

    def broken(name: str, sites: dict[str, Site], **places: Any) -> dict[str, str]:
        files = render(name, sites, **places)
        if sites["shop"].release == 2:
            files["sites/shop.conf"] += "surprise on;\n"
        return files

    monkeypatch.setattr(edges, "render_tree", broken)
    with pytest.raises(EdgeError, match='unknown directive "surprise"') as caught:
        before.edge.switch(before.next())
    assert caught.value.where.startswith("sites/shop.conf:")
    assert caught.value.where.endswith(": surprise on;")
    assert any("test failed" in line for line in caught.value.log)
    before.assert_untouched()


def test_a_port_that_another_process_holds_changes_nothing(before: Before) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EdgeError, match=f"cannot listen on port {port} of 127.0.0.1") as caught:
            before.edge.switch(site("blog", 1, before.two, port=port))
        assert any("bind()" in line for line in caught.value.log)
        assert f"sport = :{port}" in caught.value.hint
        before.assert_untouched()
    before.edge.switch(site("blog", 1, before.two, port=port))
    assert ask(port).body == "two"


def test_a_switch_that_nginx_does_not_load_in_time_is_reverted(
    before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "CONFIRM_BUDGET", 1.0)
    with (
        frozen(before.edge._master().pid),
        pytest.raises(EdgeError, match="did not load the new configuration within 1 s"),
    ):
        before.edge.switch(before.next())
    before.assert_untouched()


def test_an_interrupted_switch_is_reverted(before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, calls = waits.wait_until, []

    def interrupted(*asked: Any, **more: Any) -> bool:
        calls.append(asked)
        held = wait(*asked, **more)
        if len(calls) == 1:
            raise Interrupted("by the test, after nginx followed")
        return held

    monkeypatch.setattr(waits, "wait_until", interrupted)
    with pytest.raises(Interrupted):
        before.edge.switch(before.next())
    before.assert_untouched()
    bodies = {ask(before.port).body for _ in range(20)}
    assert bodies == {"one"}


def test_a_switch_of_a_killed_nginx_fails(running: Started, before: Before) -> None:
    running.kill()
    assert before.edge._pid_file.exists()
    assert before.edge.socket.exists()
    assert not before.edge.running()
    with pytest.raises(EdgeError, match="nginx is not running") as caught:
        before.edge.switch(before.next())
    assert caught.value.where == str(before.edge._pid_file)
    assert before.edge.current.readlink() == before.tree


def test_a_copied_edge_runs_next_to_the_first(running: Started, tmp_path: Path) -> None:
    first = running.edge
    mark, workers = first.mark(), running.workers()
    runtime = first.runtime.with_name("copy")
    copied = Started(Edge(first.program, tmp_path / "copy", runtime, first.account))
    for source, target in ((first.directory, copied.edge.directory), (first.runtime, runtime)):
        assert processes.run(["cp", "-a", source, target]).status == 0
    assert not copied.edge.running()
    copied.edge.prepare()
    copied.start()
    try:
        assert set(copied.workers()).isdisjoint(workers)
        copied.kill()
        copied.start()
    finally:
        copied.stop()
    assert not copied.edge.answering()
    assert mark is not None and first.running()
    assert generation(first) == mark.generation
    assert running.workers() == workers


def test_a_restarted_nginx_serves_the_same_sites(running: Started, before: Before) -> None:
    running.kill()
    running.start()
    before.assert_untouched()


def test_sites_can_be_placed_before_the_start(started: Started, backend: Callable[[str], Backend]) -> None:
    port = free_port()
    new_sites = site("shop", 3, backend("one"), port=port)
    started.edge.place(new_sites)
    assert not network.accepts(port)
    started.start()
    assert ask(port).body == "one"
    with pytest.raises(EdgeError, match="nginx is running"):
        started.edge.place(new_sites)


# ---- a port that apps share ----------------------------------------------------------------------------------


def test_a_new_host_answers_that_no_app_has_this_name(shared: Started) -> None:
    answer = ask(shared.edge.port)
    assert (answer.status, answer.body) == (404, tree.NO_SUCH_NAME)


def test_apps_on_one_port_are_distinguished_by_name(
    shared: Started, backend: Callable[[str], Backend]
) -> None:
    port, long = shared.edge.port, ".".join(["a" * 61] * 4) + ".exam"
    assert len(long) == 252
    shared.edge.switch(site("shop", 1, backend("one"), port=port, domains=("shop.example", long)))
    shared.edge.switch(site("blog", 1, backend("two"), port=port, domains=("*.blog.example",)))

    def named(name: str) -> str:
        return ask(port, Host=name).body

    assert (named("shop.example"), named(f"{long}:{port}"), named("SHOP.example.")) == ("one", "one", "one")
    assert (named("de.blog.example"), named("a.b.blog.example")) == ("two", "two")
    assert named("blog.example") == named("other.example") == named("127.0.0.1") == tree.NO_SUCH_NAME

    shared.edge.switch(site("site", 1, backend("three"), port=port))
    assert (named("shop.example"), named("de.blog.example")) == ("one", "two")
    assert (named("other.example"), named("127.0.0.1")) == ("three", "three")

    shared.edge.switch({"site": None})
    assert named("other.example") == tree.NO_SUCH_NAME


def test_a_shared_port_is_reached_at_every_address(
    shared: Started, backend: Callable[[str], Backend]
) -> None:
    shared.edge.switch(site("shop", 1, backend("one"), port=shared.edge.port))
    for address in ("127.0.0.1", "127.0.0.2", *(["::1"] if network.has_ipv6() else [])):
        connection = http.client.HTTPConnection(address, shared.edge.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/headers")
            seen = json.loads(connection.getresponse().read())
        assert seen["X-Forwarded-For"] == seen["X-Real-IP"] == ("::1" if address == "::1" else "127.0.0.1")


def test_an_app_moves_to_the_shared_port_and_back_while_others_are_served(
    shared: Started, backend: Callable[[str], Backend]
) -> None:
    """The shared port's socket survives reloads that add and remove other ports: no request is refused."""
    one, two, own = backend("one"), backend("two"), free_port()
    blog = site("blog", 1, two, port=shared.edge.port, domains=("blog.example",))
    shared.edge.switch({**blog, **site("shop", 1, one, port=own)})
    slow = InFlight(own)
    assert one.asked.wait(PATIENCE)
    bodies: list[str] = []
    done = threading.Event()

    def client() -> None:
        while not done.is_set():
            bodies.append(ask(shared.edge.port, Host="blog.example").body)

    asking = threading.Thread(target=client, daemon=True)
    asking.start()
    shared.edge.switch(site("shop", 2, one, port=shared.edge.port, domains=("shop.example",)))
    assert ask(shared.edge.port, Host="shop.example").body == "one"
    assert not network.accepts(own)
    one.may_answer.set()
    assert slow.answer().body == "one", "it was asked on the port that is gone"
    shared.edge.switch(site("shop", 3, one, port=own))
    assert ask(own).body == "one"
    assert ask(shared.edge.port, Host="shop.example").status == 404
    done.set()
    asking.join(PATIENCE)
    assert set(bodies) == {"two"}
    assert len(bodies) > 10


def test_names_that_collide_change_nothing(shared: Started, backend: Callable[[str], Backend]) -> None:
    port, one = shared.edge.port, backend("one")
    shared.edge.switch(site("shop", 1, one, port=port, domains=("shop.example",)))
    before = shared.edge.mark()
    new_sites = site("blog", 1, one, port=port, domains=("shop.example",))
    for refuse in (shared.edge.check, shared.edge.switch):
        with pytest.raises(EdgeError, match=r"the domain shop\.example is shop's"):
            refuse(new_sites)
    shared.edge.check(site("shop", 2, one, port=port, domains=("shop.example", "blog.example")))
    mark = shared.edge.mark()
    assert before is not None and mark is not None
    assert mark.generation == before.generation


# ---- logs ----------------------------------------------------------------------------------------------------


def test_logging_continues_in_a_new_file_after_rotation(before: Before) -> None:
    edge, log = before.edge, before.edge.logs / "access.log"
    ask(before.port, "/first")
    assert waits.wait_until(lambda: "/first" in log.read_text(), PATIENCE)
    assert set(rotation.rotate(edge.directory, max_bytes=1, keep=2)) == {"access.log", "error.log"}
    assert waits.wait_until(log.exists, PATIENCE)

    def logged() -> bool:
        ask(before.port, "/second")
        return "/second" in log.read_text()

    assert waits.wait_until(logged, PATIENCE)
    assert "/first" in (edge.logs / "access.log.1").read_text()
    assert "/first" not in log.read_text()


def test_an_occupied_port_is_explained_after_a_log_rotation(before: Before) -> None:
    rotation.rotate(before.edge.directory, max_bytes=1, keep=1)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(EdgeError, match="cannot listen on port"):
            before.edge.switch(site("blog", 1, before.two, port=other.getsockname()[1]))
    before.assert_untouched()


def test_a_stopped_nginx_leaves_nothing_behind(running: Started, before: Before) -> None:
    workers = running.workers()
    assert running.process
    running.process.send_signal(signal.SIGQUIT)
    assert running.process.wait(PATIENCE) == 0
    assert before.edge.drained(Switch("", workers), PATIENCE)
    assert not before.edge.running()

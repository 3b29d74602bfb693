"""A commit is deployed unchanged, or an error says why it cannot be: submodules, LFS, exports, clones, tags."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools import apps
from devtools.apps import App, Machine, Tree
from pushrod.adapters import https, internet, lfs, submodules
from pushrod.adapters import lfs_server as lfs_server_adapter
from pushrod.core.errors import RepositoryError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def machine(new_machine: Callable[[], Machine], certificate: Path) -> Machine:
    """A machine whose Git trusts the submodules' server."""
    made = new_machine()
    home = made.directory / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {certificate}\n")
    made.env["HOME"] = str(home)
    return made


@pytest.fixture(scope="module")
def shop(machine: Machine) -> App:
    return machine.app("shop")


def checkout(shop: App) -> Path:
    return shop.directory / "checkouts" / str(shop.live)


def deployed(shop: App, *argv: str) -> str:
    pushed = shop.tree.push(*argv)
    assert pushed.ok, pushed.err
    shop.good = shop.tree.head()
    return pushed.err


# ---- exports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "docs/"])
def test_export_attributes_do_not_change_the_deployed_files(shop: App, below: str) -> None:
    """`export-ignore` and `export-subst` are for downloaded archives of a project."""
    shop.restore()
    attributes = "fixtures export-ignore\n*.toml export-ignore\nVERSION export-subst\n"
    files = {
        ".gitattributes": attributes,
        "fixtures/one.json": "1",
        "a.toml": "a",
        "VERSION": "$Format:%H$\n",
    }
    shop.tree.commit({f"{below}{name}": text for name, text in files.items()}, "export")
    deployed(shop)
    here = checkout(shop) / below
    assert (here / "fixtures" / "one.json").read_text() == "1"
    assert (here / "a.toml").read_text() == "a"
    assert (here / "VERSION").read_text() == "$Format:%H$\n"


PEOPLE = {
    "badDate": "A <a@b> once +0000",
    "badDateOverflow": "A <a@b> 99999999999999999999 +0000",
    "badEmail": "A <a<b@c> 1700000000 +0000",
    "badName": "A> B <a@b> 1700000000 +0000",
    "badTimezone": "A <a@b> 1700000000 +051800",
    "missingEmail": "A 1700000000 +0000",
    "missingNameBeforeEmail": "<a@b> 1700000000 +0000",
    "missingSpaceBeforeDate": "A <a@b>1700000000 +0000",
    "missingSpaceBeforeEmail": "A<a@b> 1700000000 +0000",
    "zeroPaddedDate": "A <a@b> 01700000000 +0000",
}


@pytest.mark.parametrize("verb", ["push", "deploy"])
def test_harmless_mistakes_of_old_tools_in_a_history_are_no_reason_to_refuse_it(shop: App, verb: str) -> None:
    shop.restore()
    env, path = shop.tree.env, shop.tree.path
    for fault, who in PEOPLE.items():
        tree, parent = (shop.tree.git("rev-parse", name).strip() for name in ("HEAD^{tree}", "HEAD"))
        subject = f"{fault} {verb}"
        text = f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{subject}\n"
        argv = ["git", "hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
        made = subprocess.run(argv, input=text, cwd=path, env=env, text=True, capture_output=True, check=True)
        shop.tree.git("reset", "--quiet", "--hard", made.stdout.strip())
    faults = subprocess.run(["git", "fsck"], cwd=path, env=env, text=True, capture_output=True).stderr
    assert [fault for fault in PEOPLE if f" {fault}: " not in faults] == []
    shop.tree.commit({"app.py": apps.changed(f"old tools {verb}")}, "new")
    done = shop.tree.push() if verb == "push" else shop.pushrod("deploy")
    assert done.ok, done.err
    assert shop.get().body == f"old tools {verb}"
    shop.good = shop.tree.head()


def test_line_ends_are_those_of_the_commit_despite_autocrlf(shop: App) -> None:
    shop.restore()
    shop.tree.commit({"lines": "one\ntwo\n"}, "lines")
    config = Path(shop.machine.env["HOME"]) / ".gitconfig"
    before = config.read_text()
    config.write_text(before + "[core]\n\tautocrlf = true\n")
    try:
        deployed(shop)
    finally:
        config.write_text(before)
    assert (checkout(shop) / "lines").read_bytes() == b"one\ntwo\n"


# ---- submodules -------------------------------------------------------------------------------------------------


class Backend(http.server.BaseHTTPRequestHandler):
    """Git's own server program behind HTTPS; its output is passed on unchanged."""

    root = Path()
    asked: list[str] = []

    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        self.asked.append(path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = [line.decode().split(": ", 1) for line in head.split(b"\r\n") if line]
        status = next((int(value[:3]) for name, value in lines if name == "Status"), 200)
        self.send_response(status)
        for name, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def server(machine: Machine, certificate: Path) -> Iterator[str]:
    """The address of a server for the repositories in the machine's `served`; it is not allowed."""
    Backend.root = machine.directory / "served"
    with serving(Backend, certificate) as port:
        yield f"https://127.0.0.1:{port}"


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler], certificate: Path) -> Iterator[int]:
    """An HTTPS server on this machine; yields its port."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_port
    made.shutdown()
    made.server_close()


@pytest.fixture
def allowed(shop: App, server: str) -> Iterator[str]:
    """The same, allowed by the owner during the test."""
    word = f"submodules:{server.removeprefix('https://')}"
    shop.machine.must("apps", "allow", "shop", word)
    yield server
    shop.machine.must("apps", "allow", "shop", word, "--remove")


def served(machine: Machine, name: str, files: dict[str, str]) -> Tree:
    tree = Tree(machine.directory / "served" / name, machine.env).init()
    tree.commit(files, name)
    return tree


def add(tree: Tree, path: str, url: str, commit: str, more: str = "") -> None:
    """Add a submodule as Git would after fetching it."""
    with (tree.path / ".gitmodules").open("a") as f:
        f.write(f'[submodule "{path}"]\n\tpath = {path}\n' + (f"\turl = {url}\n" if url else "") + more)
    tree.git("add", ".gitmodules")
    tree.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    tree.git("commit", "--quiet", "--message", f"submodule {path}")


def test_nested_submodules_are_deployed(shop: App, machine: Machine, allowed: str) -> None:
    """With a commit that no branch points to any more, which the server only serves with its branches."""
    server = allowed
    shop.restore()
    icons = served(machine, "icons", {"icon.svg": "<svg/>"})
    theme = served(machine, "theme", {"style.css": "body", ".gitattributes": "* export-ignore\n"})
    add(theme, "vendor/icons", f"{server}/icons", icons.head())
    target_commit = theme.head()
    theme.commit({"style.css": "later"}, "later")
    add(shop.tree, "static/theme", f"{server}/theme", target_commit)
    output = deployed(shop)
    assert f"submodule static/theme: fetching {target_commit[:7]}" in output
    here = checkout(shop) / "static" / "theme"
    assert (here / "style.css").read_text() == "body"
    assert (here / "vendor" / "icons" / "icon.svg").read_text() == "<svg/>"

    Backend.asked.clear()
    shop.must("restart")
    assert (checkout(shop) / "static" / "theme" / "vendor" / "icons" / "icon.svg").exists()
    assert not Backend.asked, "what has been fetched is not fetched again"


def test_the_size_of_submodules_is_limited_and_unused_ones_removed(
    shop: App, machine: Machine, allowed: str
) -> None:
    """Each has a repository here, and a server may send more than the requested commit."""
    shop.restore()
    limits, noise = machine.root / "limits.json", random.Random(7)
    names = ("first", "second", "third")
    trees = {n: served(machine, n, {"noise": noise.randbytes(1_500_000).hex()}) for n in names}
    limits.write_text('{"repository_size": 4000000}')
    try:
        kept = [set((shop.directory / "submodules").glob("*"))]
        for name in names[:2]:
            add(shop.tree, name, f"{allowed}/{name}", trees[name].head())
            deployed(shop)
            kept.append(set((shop.directory / "submodules").iterdir()))
        first, second = kept[1] - kept[0], kept[2] - kept[1]
        add(shop.tree, "third", f"{allowed}/third", trees["third"].head())
        refused = apps.complaint(shop.tree.push())
        assert "the limit repository-size of this host" in refused.what
        shop.tree.git("rm", "--quiet", "--cached", "first")
        shop.tree.git("commit", "--quiet", "--message", "without the first")
        deployed(shop)
        left = set((shop.directory / "submodules").iterdir())
        assert not left & first, "the first has gone for the third"
        assert left >= second
    finally:
        limits.unlink()


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% MARK",
        "file:///etc",
        "/etc",
        "../theme.git",
        "http://127.0.0.1/theme",
        "ssh://git@example.com/theme",
        "git@example.com:theme.git",
        "https://user:word@127.0.0.1/theme",
        "-u./payload",
        "https://127.0.0.1:1/nobody",
        "https://no..name/x",
        "",
    ],
)
def test_a_submodule_that_cannot_be_fetched_is_refused_with_its_name(shop: App, url: str) -> None:
    shop.restore()
    mark = shop.machine.directory / "mark"
    add(shop.tree, "theme", url.replace("MARK", str(mark)), "1" * 40)
    (shop.directory / "submodules").mkdir(exist_ok=True)
    before, release = shop.footprint(), shop.live
    pushed = shop.tree.push()
    assert not pushed.ok
    if url.startswith("-"):  # refused by Git itself
        assert "disallowed submodule url" in pushed.err
    else:
        assert "submodule theme: " in apps.complaint(pushed).what, pushed.err
    assert not mark.exists()
    assert shop.footprint() == before
    assert shop.serves(release)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0"])
def test_submodules_are_not_fetched_from_private_addresses(shop: App, server: str, host: str) -> None:
    """The pusher chooses the address, and the server would make the request."""
    shop.restore()
    add(shop.tree, "theme", server.replace("127.0.0.1", host) + "/theme", "1" * 40)
    Backend.asked.clear()
    refused = apps.complaint(shop.tree.push())
    assert "which is not on the Internet" in refused.what
    assert f"pushrod apps allow shop submodules:{host}:" in refused.to_do
    assert not Backend.asked


def test_a_redirection_is_not_followed(shop: App, machine: Machine, allowed: str, certificate: Path) -> None:
    """Not even from an allowed server: it may redirect to addresses that only this machine can reach."""

    class Sends(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Content-Length", "0")
            self.send_header("Location", f"{allowed}/sent{self.path.partition('/leading')[2]}")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    shop.restore()
    theme = served(machine, "sent", {"style.css": "body"})
    with serving(Sends, certificate) as port:
        shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{port}")
        add(shop.tree, "theme", f"https://127.0.0.1:{port}/leading", theme.head())
        Backend.asked.clear()
        refused = apps.complaint(shop.tree.push())
    assert "302" in refused.what
    assert "without a redirect" in refused.to_do
    assert not Backend.asked


@pytest.fixture
def proxy(shop: App) -> Iterator[list[str]]:
    """A proxy in the settings of the machine, which forwards nothing; yields the requests that it got."""
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *words: object) -> None:
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    env = shop.machine.env
    env["https_proxy"] = f"http://someone:password@127.0.0.1:{made.server_port}"
    yield asked
    env.pop("https_proxy")
    made.shutdown()
    made.server_close()


def test_through_a_proxy_only_a_server_that_is_allowed_is_asked(
    shop: App, machine: Machine, proxy: list[str]
) -> None:
    """A proxy resolves the name, and may reach servers that a pusher must not make this machine contact."""
    shop.restore()
    add(shop.tree, "theme", "https://1.0.0.1/theme", "1" * 40)
    refused = apps.complaint(shop.tree.push())
    assert "this host reaches 1.0.0.1 through the proxy 127.0.0.1:" in refused.what
    assert "password" not in refused.what
    assert "pushrod apps allow shop submodules:1.0.0.1" in refused.to_do
    assert not proxy
    machine.must("apps", "allow", "shop", "submodules:1.0.0.1")
    assert "cannot be fetched" in apps.complaint(shop.tree.push()).what
    assert set(proxy) == {"1.0.0.1:443"}
    machine.must("apps", "allow", "shop", "submodules:1.0.0.1", "--remove")


def test_a_proxy_in_gits_own_settings_is_asked_for_no_other(
    shop: App, proxy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings for one address have precedence over general ones."""
    (tmp_path / ".gitconfig").write_text(
        f'[http "https://example.com:1"]\n\tproxy = {shop.machine.env["https_proxy"]}\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(internet, "addresses", lambda *_: ["127.0.0.1"])
    kept = submodules.Kept(tmp_path, lambda _: None, lambda *_: None, "shop", [], 1 << 30)
    with pytest.raises(RepositoryError, match="cannot be fetched from"):
        kept.repository(submodules.Submodule("theme", "1" * 40, "https://example.com:1/theme"), "theme")
    assert not proxy


def test_the_address_of_a_nested_submodule_is_checked(shop: App, machine: Machine, allowed: str) -> None:
    """A submodule's submodule has its own address, which is checked like the first."""
    server = allowed
    shop.restore()
    theme = served(machine, "leading", {"style.css": "body"})
    add(theme, "inner", f"file://{machine.directory}/served/icons", "1" * 40)
    add(shop.tree, "theme", f"{server}/leading", theme.head())
    pushed = shop.tree.push()
    assert not pushed.ok
    assert "submodule theme/inner: it cannot be fetched from" in apps.complaint(pushed).what


def test_a_submodule_with_update_none_is_left_out_with_a_note(shop: App) -> None:
    shop.restore()
    add(shop.tree, "theme", "../theme.git", "1" * 40, more="\tupdate = none\n")
    assert "submodule theme is left out" in deployed(shop)


# ---- Git LFS ----------------------------------------------------------------------------------------------------


def pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


@pytest.mark.parametrize("file", ["logo.png", "static/img/logo.png", "with space/ä.bin"])
def test_an_lfs_pointer_is_reported(shop: App, file: str) -> None:
    shop.restore()
    shop.tree.commit({file: pointer(b"elsewhere")}, "pointer")
    output = deployed(shop)
    assert "Git LFS" in output
    assert file in output
    planned = shop.must("plan")
    assert file in planned


@pytest.mark.parametrize(("file", "change"), [("crlf.png", ("\n", "\r\n")), ("open.png", ("3\n", "3"))])
def test_an_lfs_pointer_is_recognized_with_any_line_ends(
    shop: App, file: str, change: tuple[str, str]
) -> None:
    shop.restore()
    shop.tree.commit({file: pointer(b"c" * 123).replace(*change)}, "pointer")
    assert file in deployed(shop)


@pytest.mark.parametrize("where", ["work tree", "repository"])
def test_a_local_lfs_object_replaces_its_pointer(shop: App, where: str) -> None:
    shop.restore()
    content = f"\x89PNG of {where}".encode()
    oid = hashlib.sha256(content).hexdigest()
    base = shop.repository if where == "repository" else shop.tree.path / ".git"
    store = base / "lfs" / "objects" / oid[:2] / oid[2:4]
    store.mkdir(parents=True)
    (store / oid).write_bytes(content)
    lost = pointer(b"another")
    shop.tree.commit(
        {"art.png": pointer(content), f"lost in {where}.png": lost, "note.txt": f"{lost}more\n" * 9}, "lfs"
    )
    output = deployed(shop)
    assert (checkout(shop) / "art.png").read_bytes() == content
    assert f"lost in {where}.png" in output
    assert "art.png" not in output
    assert "note.txt" not in output


def test_an_lfs_object_with_a_wrong_hash_is_not_used(shop: App) -> None:
    shop.restore()
    content = b"what was meant"
    oid = hashlib.sha256(content).hexdigest()
    store = shop.tree.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4]
    store.mkdir(parents=True)
    (store / oid).write_bytes(b"what was meanT")
    shop.tree.commit({"badge.png": pointer(content)}, "lfs")
    assert "badge.png" in deployed(shop)
    assert (checkout(shop) / "badge.png").read_text() == pointer(content)


class Objects(http.server.BaseHTTPRequestHandler):
    """An LFS server: the batch API below /lfs, files below /files, with the header that its answer requires."""

    kept: dict[str, bytes] = {}
    answer = b""
    """What it answers to the batch API in place of an answer."""
    elsewhere = ""
    """Where it says that the files are, in place of itself."""
    asked: list[str] = []

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.asked.append(self.path)
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (asked["operation"], asked["transfers"]) == ("download", ["basic"])
        at = self.elsewhere or f"https://{self.headers['Host']}/files"
        objects = []
        for o in asked["objects"]:
            link = {"href": f"{at}/{o['oid']}", "header": {"X-Key": "k"}, "expires_in": 60}
            known = o["oid"] in self.kept
            objects.append(
                o
                | ({"actions": {"download": link}} if known else {"error": {"code": 404, "message": "gone"}})
            )
        self._answer(self.answer or json.dumps({"transfer": "basic", "objects": objects}).encode())

    def do_GET(self) -> None:
        self.asked.append(self.path)
        assert self.headers["X-Key"] == "k"
        self._answer(self.kept[self.path.rpartition("/")[2]])

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def lfs_server(shop: App, certificate: Path) -> Iterator[int]:
    """The port of a server of LFS that the shop's `.lfsconfig` names and whose certificate is trusted."""
    shop.restore()
    Objects.kept, Objects.elsewhere, Objects.asked, Objects.answer = {}, "", [], b""
    with serving(Objects, certificate) as port:
        shop.tree.commit({".lfsconfig": f"[lfs]\n\turl = https://127.0.0.1:{port}/lfs\n"}, "where LFS is")
        shop.machine.env["SSL_CERT_FILE"] = str(certificate)
        yield port
        del shop.machine.env["SSL_CERT_FILE"]


def kept_there(*contents: bytes) -> None:
    Objects.kept = {hashlib.sha256(content).hexdigest(): content for content in contents}


@pytest.mark.long
def test_lfs_objects_are_fetched_from_the_lfs_server(shop: App, lfs_server: int) -> None:
    shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{lfs_server}")
    some = [f"{n} of {lfs_server}".encode() * 1000 for n in range(120)]
    kept_there(*some)
    shop.tree.commit({f"art/{n}.bin": pointer(content) for n, content in enumerate(some)}, "lfs")
    output = deployed(shop)
    assert "art/" not in output, "what other files stand for is not there, and keeps none of these away"
    assert [(checkout(shop) / f"art/{n}.bin").read_bytes() for n in range(120)] == some
    assert Objects.asked.count("/lfs/objects/batch") == 2, "a hundred at once"
    Objects.asked.clear()
    shop.tree.commit({"app.py": apps.changed("lfs again")}, "again")
    deployed(shop)
    assert not [path for path in Objects.asked if path.startswith("/files/")], (
        "what is here is not fetched again"
    )
    shop.tree.commit({f"art/{n}.bin": "small" for n in range(120)}, "no lfs")
    deployed(shop)
    assert not list((shop.directory / "lfs").glob("*/*/*")), "only what the commit needs is kept"


@pytest.mark.parametrize("where", ["server", "file"])
def test_lfs_objects_are_not_fetched_from_private_addresses(
    shop: App, server: str, lfs_server: int, where: str
) -> None:
    """Neither the one in `.lfsconfig` nor one that its answers name."""
    content = f"secret of {where}".encode()
    kept_there(content)
    if where == "file":
        shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{lfs_server}")
        Objects.elsewhere = f"{server}/files"
    shop.tree.commit({"art.png": pointer(content)}, "lfs")
    Backend.asked.clear()
    output = deployed(shop)
    assert "is not on the Internet" in output
    assert "art.png" in output
    assert Objects.asked == (["/lfs/objects/batch"] if where == "file" else [])
    assert not Backend.asked


@pytest.mark.long
@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"what was meanT", "does not match the pointer"),
        (None, "gone"),
        (b"long" * 99, "does not match the pointer"),
    ],
)
def test_a_wrong_object_of_an_lfs_server_is_not_used(
    shop: App, lfs_server: int, sent: bytes | None, why: str
) -> None:
    shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{lfs_server}")
    content = b"what was meant"
    kept_there(content)
    Objects.kept = {oid: sent for oid in Objects.kept if sent is not None}
    shop.tree.commit({"badge.png": pointer(content)}, "lfs")
    output = deployed(shop)
    assert why in output
    assert (checkout(shop) / "badge.png").read_text() == pointer(content)


@pytest.mark.long
@pytest.mark.parametrize("answer", [b'{"objects": [], "x": ' + b"[" * 100_000, b"[]", b"\xff"])
def test_an_invalid_answer_of_an_lfs_server_is_reported(shop: App, lfs_server: int, answer: bytes) -> None:
    shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{lfs_server}")
    Objects.answer = answer
    shop.tree.commit({"badge.png": pointer(b"what is not here")}, "lfs")
    output = deployed(shop)
    assert "Traceback" not in output
    assert "badge.png" in output


def test_files_of_lfs_beyond_the_disk_are_not_asked_for(shop: App, lfs_server: int) -> None:
    """Regardless of the owner's limits."""
    shop.machine.must("apps", "allow", "shop", f"submodules:127.0.0.1:{lfs_server}")
    limits = shop.machine.root / "limits.json"
    limits.write_text('{"file_size": 1000000000000000, "tree_size": 1000000000000000}')
    large = pointer(b"x").replace("size 1\n", "size 900000000000000\n")
    assert large != pointer(b"x")
    try:
        shop.tree.commit({"large.bin": large}, "lfs")
        refused = apps.complaint(shop.tree.push())
    finally:
        limits.unlink()
    assert "MiB are free" in refused.what
    assert not Objects.asked


class Dribbles(http.server.BaseHTTPRequestHandler):
    """A server that sends the beginning of an answer byte by byte while the client listens; here for 20 s at most."""

    begun = b""
    again = b""

    def do_POST(self) -> None:
        self.wfile.write(self.begun)
        for _ in range(400):
            try:
                self.wfile.write(self.again)
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize(
    ("begun", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["head", "continue", "chunk"],
)
def test_a_server_of_lfs_that_dribbles_has_no_more_time_than_others(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes, again: bytes
) -> None:
    monkeypatch.setattr(lfs_server_adapter, "_DEADLINE", 0.5)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(Dribbles, "begun", begun)
    monkeypatch.setattr(Dribbles, "again", again)
    target_commit = [lfs.Pointer("art.png", "0" * 64, 1)]
    with serving(Dribbles, certificate) as port:
        server = f"127.0.0.1:{port}"
        with pytest.raises(https.FetchError, match="incomplete after"):
            lfs_server_adapter.fetch(f"https://{server}/lfs", target_commit, tmp_path, [server])


# ---- shallow clones ---------------------------------------------------------------------------------------------


def shallow(shop: App, depth: int) -> Tree:
    path = shop.machine.directory / f"ci-{time.monotonic_ns()}"
    shop.tree.git("clone", "--quiet", f"--depth={depth}", f"file://{shop.tree.path}", str(path))
    tree = Tree(path, shop.tree.env)
    tree.git("remote", "add", "pushrod", str(shop.repository))
    return tree


def test_a_shallow_clone_that_includes_the_live_commit_is_deployed(shop: App) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed("shallow")}, "shallow")
    pushed = shallow(shop, 2).push()
    assert pushed.ok, pushed.err
    assert shop.get().body == "shallow"
    assert not (shop.repository / "shallow").exists(), "the app's repository has all of it"
    shop.good = shop.tree.head()
    shop.push_change()


@pytest.mark.parametrize("verb", ["push", "deploy", "plan"])
def test_a_shallow_clone_without_the_live_commit_is_refused_with_a_hint(shop: App, verb: str) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed("one")}, "one")
    shop.tree.commit({"app.py": apps.changed("two")}, "two")
    clone = shallow(shop, 1)
    before = shop.footprint()
    if verb == "push":  # without --force, Git's client says `fetch first` without asking the server
        done = clone.push("--force", "pushrod", "HEAD:main")
    else:
        done = shop.machine.pushrod(verb, "--app", "shop", cwd=clone.path)
    refused = apps.complaint(done)
    assert "shallow" in refused.what
    assert "fetch-depth: 0" in refused.to_do
    assert shop.footprint() == before
    shop.push_change()


# ---- SHA-256 ----------------------------------------------------------------------------------------------------


def test_a_sha_256_repository_is_deployed(machine: Machine) -> None:
    tree = Tree(machine.directory / "long", machine.env)
    tree.path.mkdir()
    tree.git("init", "--quiet", "--initial-branch=main", "--object-format=sha256")
    tree.commit(apps.FILES, "first")
    machine.must("apps", "create", "long", "--port", str(apps.edge_port()), cwd=tree.path)
    long = App(machine, "long", tree)
    machine.apps.append(long)
    deployed(long)
    long.push_change()
    assert long.tree.head()[:7] in long.must("plan")
    long.must("rollback")
    long.must("deploy")
    assert len(long.branch()) == 64
    long.settled()


# ---- tags -------------------------------------------------------------------------------------------------------


def test_tags_are_accepted_with_a_push(shop: App) -> None:
    shop.restore()
    shop.tree.commit({"app.py": apps.changed("followed")}, "followed")
    shop.tree.git("tag", "--annotate", "v7", "--message", "seven")
    deployed(shop, "--follow-tags", "pushrod", "HEAD:main")
    assert shop.get().body == "followed"
    assert shop.tags()["v7"] == shop.tree.head()
    shop.tree.git("tag", "--annotate", "v8", "--message", "eight")
    deployed(shop, "--follow-tags", "pushrod", "HEAD:main")
    assert shop.tags()["v8"] == shop.tree.head(), "also where there is nothing else to push"


def test_a_client_cannot_create_release_tags(shop: App) -> None:
    """After fetching from one app, a clone has its tags, which are sent along with a push to another."""
    shop.push_change()
    shop.tree.commit({"app.py": apps.changed("own tags")}, "own tags")
    shop.tree.git("tag", "--annotate", "release/1", "--message", "another app's", "--force")
    shop.tree.git("tag", "--annotate", "release/999", "--message", "another app's", "--force")
    before = shop.tags()
    deployed(shop, "--follow-tags", "--force", "pushrod", "HEAD:main")
    after = shop.tags()
    assert {k: v for k, v in after.items() if k in before} == before
    assert "release/999" not in after


def test_a_tag_on_an_undeployed_commit_is_refused(shop: App) -> None:
    shop.push_change()
    shop.tree.commit({"app.py": apps.changed("aside")}, "aside")
    shop.tree.git("tag", "--annotate", "aside", "--message", "not in main")
    shop.tree.reset(shop.good)
    pushed = shop.tree.push("pushrod", "aside")
    assert "only `main` is deployed" in apps.complaint(pushed).what
    assert "aside" not in shop.tags()
    with contextlib.suppress(AssertionError):
        shop.tree.git("tag", "--delete", "aside")
    shop.push_change()


# ---- scripts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "mode", "ends", "hint"),
    [
        ("./start.sh", 0o644, "\n", "start.sh is not executable in Git"),
        ("./start.sh", 0o755, "\r\n", "start.sh has CRLF line ends"),
        ("sh start.sh", 0o644, "\r\n", "start.sh has CRLF line ends"),
    ],
)
def test_a_script_that_cannot_be_started_is_explained(
    shop: App, command: str, mode: int, ends: str, hint: str
) -> None:
    shop.restore()
    text = "#!/bin/sh\nset -e\nexec python app.py\n".replace("\n", ends)
    path = shop.tree.path / "start.sh"
    path.write_bytes(text.encode())
    path.chmod(mode)
    shop.tree.commit({"compose.yaml": apps.manifest(command=command)}, "script")
    pushed = shop.tree.push()
    assert hint in apps.complaint(pushed).to_do, pushed.err

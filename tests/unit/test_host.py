"""The one door to the operating system, against the real one: processes, signals, locks, files, ports."""

import errno
import os
import pwd
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pushrod import host
from pushrod.errors import BusyError, HostError, Interrupted
from tests.conftest import beside

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a child as somebody else")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def python(source: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", source, *map(str, arguments)]


# ---- run ------------------------------------------------------------------------------------------------------


def test_run_returns_status_and_both_streams_apart() -> None:
    done = host.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert done == (7, "out\n", "err\n")


def test_run_gives_no_input_unless_asked() -> None:
    assert host.run(["cat"], timeout=10).stdout == ""


def test_run_gives_text_as_input() -> None:
    assert host.run(["cat"], stdin="ä\n").stdout == "ä\n"


def test_run_gives_an_open_file_as_input_and_takes_one_for_output(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00\xff\n")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        done = host.run(["cat"], stdin=source, stdout=target)
    assert (done.status, done.stdout) == (0, "")
    assert (tmp_path / "out").read_bytes() == b"\x00\xff\n"


def test_run_replaces_the_whole_environment() -> None:
    assert host.run(["/usr/bin/env"], env={"ONLY": "this"}).stdout == "ONLY=this\n"


def test_run_sets_directory_and_umask(tmp_path: Path) -> None:
    host.run(["touch", "made"], cwd=tmp_path, umask=0o077)
    assert mode(tmp_path / "made") == 0o600


def test_run_replaces_bytes_that_are_not_text() -> None:
    assert host.run(["printf", r"a\377b"]).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_run_hands_over_each_line_as_it_appears(tmp_path: Path) -> None:
    """The program waits for what the receiver of its first line does, so a line that came late would never come."""
    answer = tmp_path / "answer"
    script = f"echo one; until [ -e '{answer}' ]; do sleep 0.01; done; echo two >&2; printf three"
    lines: list[str] = []

    def receive(line: str) -> None:
        lines.append(line)
        answer.touch()

    done = host.run(["sh", "-c", script], on_line=receive, timeout=20)
    assert lines == ["one", "two", "three"]
    assert done == (0, "one\ntwo\nthree", "")


def test_run_says_which_program_is_missing() -> None:
    with pytest.raises(HostError) as e:
        host.run(["no-such-program", "x"])
    assert "no-such-program" in e.value.what
    assert "install no-such-program" in e.value.hint


def test_run_says_which_directory_is_missing(tmp_path: Path) -> None:
    with pytest.raises(HostError) as e:
        host.run(["true"], cwd=tmp_path / "nowhere")
    assert e.value.where == str(tmp_path / "nowhere")
    assert "install" not in e.value.hint


def test_run_says_which_file_is_no_program(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch(0o644)
    with pytest.raises(HostError) as e:
        host.run([plain])
    assert e.value.where == str(plain)
    assert "mode" in e.value.hint


WAITS = "sleep 300 & echo $! > {pid}; wait"
LEAVES = "sleep 300 & echo $! > {pid}"  # the program ends; what it started holds its output open


@pytest.mark.parametrize("script", [WAITS, LEAVES], ids=["waits", "leaves"])
@pytest.mark.parametrize("on_line", [None, lambda _line: None], ids=["whole", "lines"])
def test_run_kills_the_whole_group_when_time_is_up(
    script: str, on_line: Callable[[str], None] | None, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(HostError, match=r"sh did not end within 0\.5 s"):
        host.run(["sh", "-c", script.format(pid=pid)], timeout=0.5, on_line=on_line, cwd=tmp_path)
    assert host.wait_until(lambda: gone(int(pid.read_text())), timeout=10)


def test_run_leaves_no_child_when_the_receiver_of_lines_fails(tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise BusyError(line)

    with pytest.raises(BusyError) as e:
        host.run(["sh", "-c", "echo $$; exec sleep 300"], on_line=fail, timeout=60)
    assert host.wait_until(lambda: gone(int(e.value.what)), timeout=10)


def test_run_does_not_hold_on_to_a_child_that_ignores_its_input() -> None:
    assert host.run(["true"], stdin="x" * 1_000_000).status == 0


def test_attach_returns_the_status_of_a_program_on_our_own_streams(tmp_path: Path) -> None:
    source = "from pathlib import Path; import sys; from pushrod import host; sys.stdout.flush()\n"
    source += "print(host.attach(['sh', '-c', 'cat; exit 9'], cwd=Path('/'), env={'PATH': '/usr/bin:/bin'}))"
    done = host.run(python(source), stdin="typed\n")
    assert done.stdout == "typed\n9\n"


def test_attach_says_which_program_is_missing(tmp_path: Path) -> None:
    with pytest.raises(HostError) as e:
        host.attach(["no-such-program"], cwd=tmp_path, env={})
    assert e.value.where == "no-such-program"


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "owner and mode"),
        (errno.EROFS, "--root"),
        (errno.EIO, ""),
    ],
)
def test_an_operating_system_error_says_where_and_what_to_do(number: int, hint: str) -> None:
    error = host.os_error(OSError(number, os.strerror(number), "/srv/file"), "")
    assert (error.what, error.where) == (os.strerror(number).lower(), "/srv/file")
    assert hint in error.hint
    assert bool(hint) == bool(error.hint)


# ---- files ----------------------------------------------------------------------------------------------------

# Two contents in turn, each of one letter only, for as long as it lives.
WRITER = """
import sys
from pathlib import Path
from pushrod import host
while True:
    for letter in b"ab":
        host.write(Path(sys.argv[1]), bytes([letter]) * 300_000)
        print("written")
"""


def test_write_makes_directories_and_sets_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c"
    host.write(path, "ä", mode=0o600)
    assert path.read_text() == "ä"
    assert mode(path) == 0o600
    host.write(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    assert mode(path) == 0o644
    assert names(path.parent) == ["c"]


def test_write_replaces_the_name_and_not_the_file_that_someone_is_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    host.write(path, "old")
    with path.open() as reader:
        host.write(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(6):
        with beside(WRITER, path) as writer:
            assert writer.line() == "written"
            seen = {path.read_bytes() for _ in range(50)}
            writer.signal(signal.SIGKILL)
            writer.end()
        for content in (*seen, path.read_bytes()):
            assert len(content) == 300_000
            assert len(set(content)) == 1


def limited(tmp_path: Path, source: str, limit: int) -> host.Completed:
    """Run source in a process whose files cannot grow beyond `limit` bytes."""
    head = "import sys, resource\nfrom pathlib import Path\nfrom pushrod import host\n"
    head += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
    return host.run(python(head + source), cwd=tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    source = "try:\n    host.write(Path('file'), 'x' * 2000)\nexcept OSError as e:\n    print(e.errno)"
    done = limited(tmp_path, source, 1000)
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert (tmp_path / "file").read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_new_file_is_written_with_its_mode_and_never_over_another(tmp_path: Path) -> None:
    host.write_new(tmp_path / "a", "ä")
    assert (tmp_path / "a").read_text() == "ä"
    assert mode(tmp_path / "a") == 0o644
    with pytest.raises(FileExistsError):
        host.write_new(tmp_path / "a", "other")
    assert (tmp_path / "a").read_text() == "ä"


def test_paths_are_made_durable_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink()))
    (tmp_path / "sub").mkdir()
    paths = [tmp_path / name for name in ("sub/b", "a", "sub", "")]
    for path in paths[:2]:
        host.write_new(path, "text")
    host.sync(paths)
    assert synced == paths


def test_a_file_with_the_same_text_becomes_one_with_the_other(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    host.write_new(other, "ä")
    assert host.link_same(one, other, "ä")
    assert one.samefile(other)


@pytest.mark.parametrize("held", ["a", "äb", ""])
def test_a_file_with_another_text_does_not(tmp_path: Path, held: str) -> None:
    host.write_new(tmp_path / "other", held)
    assert not host.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_nor_does_one_that_others_may_not_read(tmp_path: Path) -> None:
    host.write_new(tmp_path / "other", "ä", mode=0o600)
    assert not host.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_nor_does_one_that_is_not_there_or_where_links_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not host.link_same(tmp_path / "one", tmp_path / "other", "")
    host.write_new(tmp_path / "other", "ä")

    def refused(*args: object, **more: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    assert not host.link_same(tmp_path / "one", tmp_path / "other", "ä")
    assert names(tmp_path) == ["other"]


def test_append_adds_a_line_and_keeps_what_is_there(tmp_path: Path) -> None:
    host.append(tmp_path / "file", "one", mode=0o600)
    host.append(tmp_path / "file", "zwei ä")
    assert (tmp_path / "file").read_text() == "one\nzwei ä\n"
    assert mode(tmp_path / "file") == 0o600


def test_append_makes_the_name_of_a_new_file_durable_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(host, "sync_directory", synced.append)
    host.append(tmp_path / "file", "one")
    host.append(tmp_path / "file", "two")
    assert synced == [tmp_path]


@root_only
def test_append_raises_when_the_disk_is_full(tmp_path: Path) -> None:
    source = "import errno, os\nfrom pathlib import Path\nfrom pushrod import host\n"
    source += "try:\n    while True:\n        host.append(Path('file'), 'y' * 1000)\nexcept OSError as e:\n"
    source += "    print(errno.errorcode[e.errno], e.filename or '')"
    mount = 'mount -t tmpfs -o size=16k tmpfs "$1" && cd "$1" && shift && exec "$@"'
    done = host.run(["unshare", "--mount", "sh", "-c", mount, "sh", tmp_path, *python(source)])
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.stdout.split()[0] == "ENOSPC", done.stderr


def test_append_takes_back_a_line_of_which_only_a_part_fits(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x" * 990 + "\n")
    source = (
        "try:\n    host.append(Path('file'), 'y' * 50)\nexcept OSError as e:\n    print(e.errno, e.filename)"
    )
    done = limited(tmp_path, source, 1000)
    assert done.stdout.split() == [str(errno.ENOSPC), "file"], done.stderr
    assert (tmp_path / "file").read_text() == "x" * 990 + "\n"


def test_run_splits_at_newlines_alone_and_keeps_every_byte_of_a_line() -> None:
    script = r"printf 'bad \000 byte\rx\014\302\205\n\033]0;t\007\nlast'"
    got: list[str] = []
    done = host.run(["sh", "-c", script], on_line=got.append, timeout=20)
    assert got == ["bad \0 byte\rx\x0c\x85", "\x1b]0;t\x07", "last"]
    assert done.stdout == host.run(["sh", "-c", script], timeout=20).stdout == "\n".join(got)


def test_run_cuts_what_has_no_end_and_says_so() -> None:
    got: list[str] = []
    done = host.run(
        ["sh", "-c", "yes | head -c 9000000 | tr -d '\\n'; yes | head -c 4000000"], on_line=got.append
    )
    assert got[0] == "y" * 65536 + " […]"
    assert max(map(len, got)) == 65536 + 4
    assert len(done.stdout) <= 1 << 20


def test_tail_reads_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert host.tail(log) == ()
    log.write_bytes(b"".join(b"line %d\n" % n for n in range(20_000)) + b"\xff")
    assert host.tail(log, 2) == ("line 19999", "\N{REPLACEMENT CHARACTER}")


def test_a_pointer_is_never_missing_while_it_moves(tmp_path: Path) -> None:
    link = tmp_path / "live"
    host.point(link, "releases/1")
    stop = threading.Event()
    missed: list[int] = []

    def watch() -> None:
        while not stop.is_set():
            if not link.is_symlink():
                missed.append(1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(2, 60):
        host.point(link, f"releases/{n}")
    stop.set()
    watcher.join()
    assert not missed
    assert link.readlink() == Path("releases/59")
    assert names(tmp_path) == ["live"]


def test_a_private_directory_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(host.make_private(tmp_path / "open")) == 0o700
    assert mode(host.make_private(tmp_path / "new" / "below")) == 0o700


def test_remove_tree_is_content_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    host.remove_tree(tmp_path / "a")
    host.remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_free_space_is_in_bytes(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert abs(host.free_space(tmp_path) - found.f_bavail * found.f_frsize) < 1 << 30


def test_an_open_directory_is_open_whatever_the_umask_and_one_that_is_there_stays_as_it_is(
    tmp_path: Path,
) -> None:
    host.make_private(tmp_path / "a")
    before = os.umask(0o077)
    try:
        assert host.make_open(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b" / "c"
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700, 0o755, 0o755]


def test_what_is_published_can_be_read_by_all_and_has_its_times(tmp_path: Path) -> None:
    for name in ("source/.secret", "source/a/.secret", "source/a/.hidden/b", "source/a/c"):
        host.write(tmp_path / name, name, mode=0o600)
    os.utime(tmp_path / "source/a/c", (1000, 2000))
    host.publish(tmp_path, "source", tmp_path / "to" / "target", lambda name: name.startswith("."))
    assert names(tmp_path / "to") == ["target"]
    assert sorted(
        str(p.relative_to(tmp_path / "to/target")) for p in (tmp_path / "to").rglob("*") if p.is_file()
    ) == ["a/c"]
    assert mode(tmp_path / "to/target/a/c") == 0o644
    assert (tmp_path / "to/target/a/c").stat().st_mtime == 2000


def test_what_cannot_be_published_whole_is_not_there(tmp_path: Path) -> None:
    host.write(tmp_path / "source" / "a", "a")
    (tmp_path / "source" / "b").symlink_to("nowhere")
    with pytest.raises(HostError, match="no such file") as caught:
        host.publish(tmp_path, "source", tmp_path / "target", lambda _: False)
    assert caught.value.where == str(tmp_path / "source" / "b")
    assert names(tmp_path) == ["source"]


def test_a_link_is_a_second_name_below_open_directories(tmp_path: Path) -> None:
    host.write(tmp_path / "a", "a")
    host.link(tmp_path / "a", tmp_path / "b" / "c" / "d")
    assert (tmp_path / "b/c/d").samefile(tmp_path / "a")
    with pytest.raises(FileExistsError):
        host.link(tmp_path / "a", tmp_path / "b" / "c" / "d")


# ---- the lock -------------------------------------------------------------------------------------------------

# Holds the lock until it is told to go on. Its child, which only waits, must not hold it for it.
HOLDER = """
import subprocess, sys
from pathlib import Path
from pushrod import host
with host.lock(Path(sys.argv[1]), purpose="deploying 1234567", timeout=10):
    child = subprocess.Popen(["sleep", "300"])
    print(child.pid)
    sys.stdin.readline()
    child.kill()
"""


def test_a_second_command_waits_and_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "below" / "lock"
    with beside(HOLDER, path) as holder:
        holder.line()
        said: list[str] = []

        def waiting(text: str) -> None:
            said.append(text)
            holder.say()

        with host.lock(path, purpose="mine", timeout=20, on_wait=waiting):
            assert f"mine (process {os.getpid()})" == path.read_text()
        assert said == [f"deploying 1234567 (process {holder.pid})"]
        assert path.read_text() == ""


def test_a_lock_dies_with_its_holder_even_where_a_child_of_it_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with beside(HOLDER, path) as holder:
        child = int(holder.line())
        try:
            assert host.locked(path)
            holder.signal(signal.SIGKILL)
            holder.child.wait(timeout=10)
            assert not gone(child)
            assert not host.locked(path)
            with host.lock(path, purpose="mine", timeout=0):
                assert host.locked(path)
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_listens_on_a_port() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert host.listener(port) is None
        server.listen()
        assert host.listener(port) == os.geteuid()
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert host.listener(client.getsockname()[1]) is None


def test_a_listener_of_another_user_is_told_and_of_another_system_is_not(tmp_path: Path) -> None:
    row = "   0: {}:6978 00000000:0000 {} 00000000:00000000 00:00000000 00000000  {}        0 1 1"
    table = tmp_path / "tcp"
    for address, state, known in (
        ("0100007F", "0A", 1000),
        ("00000000", "0A", 1000),
        ("0100007F", "01", None),
        ("0200007F", "0A", None),
    ):
        table.write_text(f"  sl  local_address\n{row.format(address, state, 1000)}\n")
        assert host.listener(27000, table) == known
    assert host.listener(27000, tmp_path / "none") is None


def test_a_lock_is_not_for_others_to_hold(tmp_path: Path) -> None:
    """To hold one it is enough to be able to read it; one that an older pushrod made is closed too."""
    (tmp_path / "old").touch(mode=0o644)
    for path in (tmp_path / "new", tmp_path / "old"):
        with host.lock(path, purpose="a test", timeout=1):
            assert mode(path) == 0o600


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "lock").symlink_to("target")
    with pytest.raises(OSError), host.lock(tmp_path / "lock", purpose="a test", timeout=1):
        pass
    assert (tmp_path / "target").read_text() == "theirs"


def test_waiting_for_a_lock_ends_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with beside(HOLDER, path) as holder:
        holder.line()
        with pytest.raises(BusyError) as e, host.lock(path, purpose="mine", timeout=0.1):
            pytest.fail("two hold one lock")
        assert f"deploying 1234567 (process {holder.pid})" in e.value.what
        assert e.value.where == str(path)
        holder.say()
        assert holder.end()[0] == 0
    assert not host.locked(path)


def test_a_lock_is_let_go_when_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), host.lock(tmp_path / "lock", purpose="x", timeout=0):
        raise KeyError
    assert not host.locked(tmp_path / "lock")


def test_a_lock_that_nobody_ever_took_is_free_and_not_made(tmp_path: Path) -> None:
    assert not host.locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


COUNTER = """
import sys
from pathlib import Path
from pushrod import host
counter = Path(sys.argv[1])
for _ in range(40):
    with host.lock(counter.with_name("lock"), purpose="counting", timeout=60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    with beside(COUNTER, counter) as one, beside(COUNTER, counter) as two, beside(COUNTER, counter) as three:
        assert [p.end()[0] for p in (one, two, three)] == [0, 0, 0]
    assert counter.read_text() == "120"


# ---- the network ----------------------------------------------------------------------------------------------


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        with socket.create_server((request.param, 0), family=family, dualstack_ipv6=family != 2) as s:
            yield s
    except (OSError, ValueError):
        pytest.skip("no IPv6 here")


def test_a_port_somebody_listens_on_is_not_free(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert not host.port_is_free(port)
    assert host.accepts(port)


@pytest.mark.parametrize(
    ("row", "listens"),
    [
        ("0: 00000000:1F90 00000000:0000 0A 00000000:00000000", True),
        ("0: 0100007F:1F90 00000000:0000 0A 00000000:00000000", False),
        ("0: 0B00007F:9C41 00000000:0000 0A 00000000:00000000", False),
        ("0: 0200D50A:1F90 0100D50A:C350 01 00000000:00000000", False),
        ("0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A", True),
        ("0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A", False),
        ("0: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A", False),
    ],
)
def test_what_listens_is_what_others_can_reach(row: str, listens: bool) -> None:
    if sys.byteorder == "little":
        assert host.reachable_listeners(f"  sl  local_address rem_address st\n   {row}\n") is listens


def test_a_process_that_has_ended_listens_on_nothing() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert not host.listens(pid)


def test_a_port_is_free_again_after_its_listener_although_a_connection_lingers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()  # the side that closes first keeps the port in TIME_WAIT
    client.close()
    assert host.port_is_free(port)
    assert not host.accepts(port)


def test_exchange_returns_all_that_a_unix_socket_answers(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"you said " + connection.recv(100) + b"!" * 10_000)

        thread = threading.Thread(target=answer)
        thread.start()
        assert host.exchange(path, b"hello") == b"you said hello" + b"!" * 10_000
        thread.join()
    assert host.exchange(path, b"hello") == b""
    assert host.exchange(tmp_path / "none", b"hello") == b""


def test_wait_until_returns_whether_it_held() -> None:
    answers = iter([False, False, True])
    assert host.wait_until(lambda: next(answers), timeout=10, interval=0)
    assert not host.wait_until(lambda: False, timeout=0.01, interval=0)


# ---- accounts -------------------------------------------------------------------------------------------------


def as_nobody(condition: Callable[[], bool]) -> bool:
    """Ask a condition in a process that has given up being root."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status = 0 if condition() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_children_run_as_we_do_when_we_are_not_root(tmp_path: Path) -> None:
    def condition() -> bool:
        return host.child_account([tmp_path]) is None

    assert as_nobody(condition) if os.geteuid() == 0 else condition()


@pytest.fixture
def account() -> pwd.struct_passwd:
    for name in ("pushrod", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("no account for children here")


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of our own that every account may pass."""
    with tempfile.TemporaryDirectory(prefix="pushrod-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@root_only
def test_a_child_of_root_reaches_below_a_closed_directory(outside: Path, account: pwd.struct_passwd) -> None:
    closed = outside / "home"
    (closed / "data").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "data" / "file").write_text("reached\n")
    host.own(closed / "data", (found := host.child_account([closed / "data"])))
    assert found is not None
    assert (found.uid, found.gid) == (account.pw_uid, account.pw_gid)
    assert found.reach

    script = "cat file && touch made && id -u && id -g && id -G"
    done = host.run(host.as_account(["sh", "-c", script], found), cwd=closed / "data")
    assert done.stdout.split() == ["reached", *map(str, (found.uid, found.gid, found.gid))], done.stderr
    assert (closed / "data" / "made").stat().st_uid == found.uid

    plain = found._replace(reach="")
    assert host.run(host.as_account(["cat", str(closed / "data" / "file")], plain)).status != 0


@root_only
def test_a_child_of_root_gets_no_capability_that_it_does_not_need(
    outside: Path, account: pwd.struct_passwd
) -> None:
    found = host.child_account([outside])
    assert found == (account.pw_name, account.pw_uid, account.pw_gid, "")
    done = host.run(host.as_account(["grep", "CapEff", "/proc/self/status"], found))
    assert int(done.stdout.split()[1], 16) == 0


@root_only
def test_owning_gives_a_file_to_the_account(outside: Path, account: pwd.struct_passwd) -> None:
    path = outside / "file"
    path.touch()
    host.own(path, None)
    assert path.stat().st_uid == 0
    host.own(path, host.child_account([outside]))
    assert path.stat().st_uid == account.pw_uid


def test_nothing_is_wrapped_around_a_child_that_is_us() -> None:
    assert host.as_account(["a", "b"], None) == ["a", "b"]
    assert host.as_account(["a"], None, death_signal="KILL") == ["setpriv", "--pdeathsig=KILL", "--", "a"]


def test_a_child_gets_its_death_signal_when_its_parent_is_killed() -> None:
    source = "import subprocess, sys; from pushrod import host\n"
    source += "child = subprocess.Popen(host.as_account(['sh', '-c', 'echo $$; exec sleep 300'], None, "
    source += "death_signal='KILL'), stdout=subprocess.PIPE, text=True)\n"
    source += "print(child.stdout.readline().strip()); sys.stdin.readline()"
    with beside(source) as parent:
        child = int(parent.line())
        assert not gone(child)
        parent.signal(signal.SIGKILL)
        parent.child.wait(timeout=10)
        assert host.wait_until(lambda: gone(child), timeout=10)


# ---- signals --------------------------------------------------------------------------------------------------

INTERRUPTS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

INTERRUPTIBLE = """
import time
from pushrod import host
from pushrod.errors import Interrupted
try:
    with host.interruptible():
        print("ready")
        host.run(["sh", "-c", "echo $$; exec sleep 300"], on_line=print, timeout=60)
except Interrupted as e:
    print(e.what, e.exit_code)
"""

# Work that must be finished: it is told when the signals have been sent, and only then goes on.
UNINTERRUPTED = """
import sys, signal
from pushrod import host
from pushrod.errors import Interrupted
try:
    with host.interruptible():
        with host.uninterrupted():
            print("ready")
            sys.stdin.readline()
            print("finished")
        print("ready again")
        sys.stdin.readline()
except Interrupted as e:
    print(e.what)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.parametrize("number", INTERRUPTS)
def test_a_signal_interrupts_what_waits_and_its_child_ends_with_it(number: signal.Signals) -> None:
    with beside(INTERRUPTIBLE) as program:
        assert program.line() == "ready"
        child = int(program.line())
        program.signal(number)
        assert program.line() == f"interrupted by {number.name} {Interrupted.exit_code}"
        assert program.end()[0] == 0
        assert host.wait_until(lambda: gone(child), timeout=10)


def test_no_signal_interrupts_what_must_be_finished() -> None:
    with beside(UNINTERRUPTED) as program:
        assert program.line() == "ready"
        for number in INTERRUPTS:
            program.signal(number)
        program.say()
        assert program.line() == "finished"
        assert program.line() == "ready again"
        program.signal(signal.SIGTERM)
        assert program.end() == (0, "interrupted by SIGTERM\nTrue\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run a child as somebody else")
def test_a_user_without_a_name_is_known_by_number() -> None:
    source = (
        "import os; from pushrod import host; os.environ.clear(); os.setuid(54321); print(host.user_name())"
    )
    assert host.run(python(source)).stdout == "54321\n"


@pytest.mark.parametrize("call", ["run", "attach"])
def test_a_child_started_meanwhile_still_hears_its_signals(call: str) -> None:
    """An ignored signal is inherited through exec(2): a program run by hand could not be stopped with Ctrl-C."""
    child = "['grep', 'SigIgn', '/proc/self/status']"
    how = {
        "run": f"with host.uninterrupted(): print(host.run({child}).stdout)",
        "attach": f"host.attach({child}, cwd=Path('/'), env={{'PATH': '/usr/bin:/bin'}})",
    }
    done = host.run(python(f"from pathlib import Path\nfrom pushrod import host\n{how[call]}"))
    ignored = int(done.stdout.split()[1], 16)
    ours = [
        n for n in INTERRUPTS if signal.getsignal(n) != signal.SIG_IGN
    ]  # nohup(1) ignores one for all below
    assert [n.name for n in ours if ignored >> (n - 1) & 1] == []


def test_text_for_a_program_reaches_it_also_where_its_lines_are_heard() -> None:
    heard: list[str] = []
    done = host.run(["cat"], stdin="one\ntwo\n", on_line=heard.append, timeout=10)
    assert (done.status, done.stdout, heard) == (0, "one\ntwo\n", ["one", "two"])


# ---- a program beside us ------------------------------------------------------------------------------------------


def test_a_program_beside_us_ends_when_the_block_does(tmp_path: Path) -> None:
    script = f"read -r word; echo $word $$; cat > /dev/null; echo ended > {tmp_path}/ended"
    with host.beside(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, told="hello\n") as said:
        word, pid = said.split()
        assert word == "hello"
        assert Path(f"/proc/{pid}").exists()
    assert (tmp_path / "ended").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_program_beside_us_that_does_not_end_is_killed() -> None:
    argv = ["sh", "-c", "echo $$; exec sleep 60"]
    with host.beside(argv, env={"PATH": "/usr/bin:/bin"}, told="", timeout=0.3) as pid:
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("script", ["exit 1", "sleep 60; touch went-on"])
def test_a_program_beside_us_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """Nor does it read: what it is told is more than a pipe holds."""
    monkeypatch.chdir(tmp_path)
    argv = ["sh", "-c", script]
    with host.beside(argv, env={"PATH": "/usr/bin:/bin"}, told="x" * 10**5, timeout=0.3) as said:
        assert said == ""
    assert not (tmp_path / "went-on").exists()


def test_a_sealed_file_is_ours_alone_and_its_digest_is_known(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    file.chmod(0o644)
    # the test vector of FIPS 180-2, appendix B.1
    assert host.seal(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (host.digest(file), file.stat().st_mode & 0o777) == (host.seal(file), 0o600)


def test_a_process_ends_after_its_time_with_what_it_has_started(tmp_path: Path) -> None:
    """Also where it waits for a program on its own streams, as `exec` does."""
    source = """if True:
        import sys
        from pathlib import Path
        from pushrod import host
        host.end_after(0.3, lambda: print("too long", flush=True))
        host.attach(["sh", "-c", "echo $$; exec sleep 60"], cwd=Path("/"), env={"PATH": "/usr/bin:/bin"})
    """
    done = host.run([sys.executable, "-c", source], timeout=30)
    number, told = done.stdout.split("\n")[:2]
    assert (done.status, told) == (-signal.SIGTERM, "too long")
    assert host.wait_until(lambda: not Path(f"/proc/{number}").exists(), 10)

"""The keys that may push: real keys, a real ssh-keygen, a file in a temporary directory."""

import os
import stat
from pathlib import Path

import pytest

from pushrod.core.errors import HostError, StateError, UnknownNameError
from pushrod.provisioning import keys
from pushrod.provisioning.keys import Key, KeyFile
from pushrod.system import processes

PROGRAM, ROOT = Path("/opt/pushrod/bin/pushrod"), Path("/var/lib/pushrod")
FOREIGN = '# by hand\n\nfrom="10.0.0.1" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHo5 root@backup'


def generate(directory: Path, name: str, kind: str = "ed25519") -> Path:
    path = directory / name
    done = processes.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name}@laptop", "-f", path])
    assert done.status == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the keys of two people."""
    directory = tmp_path_factory.mktemp("keys")
    generate(directory, "alice")
    generate(directory, "bob", "ecdsa")
    return directory


@pytest.fixture
def alice(made: Path) -> str:
    return (made / "alice.pub").read_text()


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / ".ssh" / "authorized_keys", (os.geteuid(), os.getegid()))


def add(file: KeyFile, text: str, **more: object) -> Key:
    key = keys.parse(text, **more)  # type: ignore[arg-type]
    file.add(key, PROGRAM, ROOT)
    return key


def test_a_key_may_run_one_command_and_nothing_else(file: KeyFile, alice: str) -> None:
    add(file, alice, apps=["shop", "blog"])
    _kind, body, _comment = alice.split()
    gate = "/opt/pushrod/bin/pushrod --root /var/lib/pushrod gate alice@laptop --app shop --app blog"
    assert file.path.read_text() == f'restrict,pty,command="{gate}" ssh-ed25519 {body} alice@laptop\n'


def test_a_key_is_named_by_its_comment_or_explicitly(file: KeyFile, made: Path, alice: str) -> None:
    add(file, alice)
    add(file, (made / "bob.pub").read_text(), name="bob", apps=["shop"])
    assert [(k.name, k.apps) for k in file.all()] == [("alice@laptop", ()), ("bob", ("shop",))]
    shown = processes.run(["ssh-keygen", "-l", "-f", made / "alice.pub"]).stdout
    assert file.all()[0].fingerprint in shown


def test_the_file_is_readable_only_by_its_owner(file: KeyFile, alice: str) -> None:
    add(file, alice)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


def test_other_lines_are_unchanged(file: KeyFile, alice: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(FOREIGN)
    add(file, alice)
    assert file.path.read_text().startswith(f"{FOREIGN}\n")
    file.remove("alice@laptop")
    assert file.path.read_text() == f"{FOREIGN}\n"


@pytest.mark.parametrize("by", ["name", "fingerprint"])
def test_a_key_is_removed(by: str, file: KeyFile, made: Path, alice: str) -> None:
    key = add(file, alice)
    add(file, (made / "bob.pub").read_text())
    assert file.remove(getattr(key, by)).name == key.name
    assert [k.name for k in file.all()] == ["bob@laptop"]


def test_removing_an_unknown_key_is_refused(file: KeyFile, alice: str) -> None:
    add(file, alice)
    with pytest.raises(UnknownNameError, match="no key `bob`") as refused:
        file.remove("bob")
    assert refused.value.hint == "keys here: alice@laptop"


def test_a_key_given_twice_is_refused_and_nothing_changes(file: KeyFile, alice: str) -> None:
    add(file, alice)
    before = file.path.read_bytes()
    with pytest.raises(UnknownNameError, match="this key exists already, as `alice@laptop`"):
        add(file, alice, name="another")
    assert file.path.read_bytes() == before


def test_a_key_that_was_added_by_hand_is_not_added_again(file: KeyFile, alice: str) -> None:
    file.path.parent.mkdir()
    file.path.write_text(alice)
    with pytest.raises(UnknownNameError, match="exists already, added by hand"):
        add(file, alice)


def test_two_keys_cannot_have_the_same_name(file: KeyFile, made: Path, alice: str) -> None:
    add(file, alice, name="us")
    with pytest.raises(UnknownNameError, match="another key is called `us`"):
        add(file, (made / "bob.pub").read_text(), name="us")


def test_a_private_key_is_refused(made: Path) -> None:
    with pytest.raises(HostError, match="this is a private key"):
        keys.parse((made / "alice").read_text())


def test_options_before_the_key_are_refused(alice: str) -> None:
    for options in ("no-pty ", 'command="sh -c x",no-pty ', 'environment="A=B" '):
        with pytest.raises(HostError, match="the line has options before the key"):
            keys.parse(options + alice)


@pytest.mark.parametrize(
    "text",
    ["hello\n", "ssh-ed25519\n", "ssh-ed25519 AAAA alice\n", "ssh-ed25519 !!! alice\n", "<html></html>\n"],
)
def test_text_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(HostError, match="this is not an SSH public key"):
        keys.parse(text)


@pytest.mark.parametrize("times", [0, 2])
def test_exactly_one_key_is_accepted(times: int, alice: str) -> None:
    with pytest.raises(HostError, match=f"expected one public key, found {times} lines"):
        keys.parse(alice * times)


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "-a", "a\nb", "x" * 65, "a;id"])
def test_an_invalid_name_is_refused(name: str, alice: str) -> None:
    bare = " ".join(alice.split()[:2])
    with pytest.raises(UnknownNameError):
        keys.parse(bare, name=name)


def test_an_invalid_app_name_is_refused(alice: str) -> None:
    with pytest.raises(UnknownNameError, match="cannot be an app's name"):
        keys.parse(alice, apps=["--root"])


def test_a_file_that_is_not_text_is_refused_and_unchanged(file: KeyFile, alice: str) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(b"\xff\xfe")
    with pytest.raises(StateError, match="it is not text"):
        add(file, alice)
    assert file.path.read_bytes() == b"\xff\xfe"

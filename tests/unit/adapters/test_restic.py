"""What restic's messages mean. What it does is tested in tests/integration/test_vaults.py."""

from pathlib import Path

import pytest

from pushrod.adapters import restic


@pytest.mark.parametrize(
    ("output", "what"),
    [
        ("Fatal: wrong password or no key found", "another password"),
        (
            "Fatal: unable to open config file: Stat: The request signature we calculated does not match the "
            "signature you provided.\nIs there a repository at the following location?",
            "refuses the credentials",
        ),
        (
            'Fatal: unable to open config file: Stat: Get "http://127.0.0.1:1/b/?location=": dial tcp 127.0.0.1:1: '
            "connect: connection refused\nIs there a repository at the following location?",
            "cannot be reached",
        ),
        ("Fatal: unable to open config file: stat /m/config: no such file or directory", "no repository"),
        ("Fatal: unable to open config file: Stat: The specified bucket does not exist", "no repository"),
        ("Fatal: repository does not exist: unable to open config file", "no repository"),
        ("Fatal: unable to open config file: open /m/config: permission denied", "another user"),
        ("Save(<data/1>) failed: write /m/tmp: no space left on device", "no room left"),
        (
            'Save(<data/1>) returned error: OpenFile: sftp: "Failure" (SSH_FX_FAILURE)',
            "no room left, or its disk",
        ),
        ("ciphertext verification failed", "damaged"),
        ("ignoring error for /: ReadFull(<data/8738b5199a>): EOF", "damaged"),
        ("user@host: Permission denied (publickey).\nFatal: unable to open repository", "this machine's key"),
        (
            "unable to open repository at sftp:a@b:/v: unable to start the sftp session, error: EOF",
            "does not answer",
        ),
        ("ssh: connect to host far port 22: Connection refused", "cannot be reached"),
        ("kex_exchange_identification: Connection closed by remote host", "cannot be reached"),
        ("anything else", "restic failed"),
    ],
)
def test_causes(output: str, what: str) -> None:
    error = restic.cause(output, "vault default (/m)")
    assert what in error.what
    assert (error.where, bool(error.hint), error.exit_code) == ("vault default (/m)", True, 6)


def test_words_that_restic_splits_again() -> None:
    assert restic._quoted("/var/lib/x y/key") == "'/var/lib/x y/key'"
    assert restic._quoted("StrictHostKeyChecking=yes") == "StrictHostKeyChecking=yes"


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("echo 'ssh: connect to host far port 22: Connection refused' >&2; exit 255", "cannot be reached"),
        (
            "echo 'me@far: Permission denied (publickey).' >&2; exit 255",
            "refuses this machine's key, or is not",
        ),
        ("cat", "refuses this machine's key, or does not answer"),
    ],
)
def test_ssh_says_why_a_session_does_not_begin(tmp_path: Path, script: str, what: str) -> None:
    far = restic.Repository("sftp:me@far:/v", {}, tmp_path, ssh=("sh", "-c", script))
    assert what in far._cause("unable to open repository: unable to start the sftp session, error: EOF").what


def test_the_password_and_credentials_are_in_no_argv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in restic's place records its arguments, and whether the secrets are in its environment."""
    seen = tmp_path / "seen"
    program = tmp_path / "restic"
    program.write_text(f"""#!/bin/sh
echo "$RESTIC_PASSWORD $AWS_SECRET_ACCESS_KEY $*" >> {seen}
case " $* " in
*" backup "*) echo '{{"message_type":"summary","snapshot_id":"1","total_bytes_processed":1,"data_added":1}}';;
*" stats "*) echo '{{"total_size":1}}';;
*" snapshots "*) echo '[]';;
esac
""")
    program.chmod(0o755)
    monkeypatch.setattr(restic, "find", lambda: str(program))
    secret = {"RESTIC_PASSWORD": "xyzzy1", "AWS_SECRET_ACCESS_KEY": "xyzzy2"}
    far = restic.Repository("s3:https://x/y", secret, tmp_path / "cache")
    far.create()
    far.exists()
    far.send(tmp_path, ["app:shop"])
    far.size("1")
    far.fetch("1", tmp_path / "back")
    far.prune("app:shop", "here", 3)
    lines = seen.read_text().splitlines()
    assert [line.split()[2] for line in lines] == [
        *("init", "cat", "backup", "stats", "restore"),
        *("unlock", "snapshots"),
    ]
    assert all(line.startswith("xyzzy1 xyzzy2 ") and line.count("xyzzy") == 2 for line in lines)

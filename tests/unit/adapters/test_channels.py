"""Targets of an alarm. Webhooks are tested in tests/unit/observe/test_alarms.py."""

import json
import shutil
from pathlib import Path

import pytest

from pushrod.adapters import channels
from pushrod.core.errors import HostError
from tests.unit.observe.webhooks import listening

FACTS = {"text": "subject", "what": "disk", "state": "wrong", "detail": "it is full", "remedy": ""}


def a_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("https://hooks.example.com/T0/secret", "webhook"),
        ("mailto:ann@example.com", "mail"),
        ("/bin/true --quiet 'two words'", "program"),
    ],
)
def test_targets(target: str, kind: str) -> None:
    assert channels.check(target) == kind
    assert "secret" not in channels.shown(target)


@pytest.mark.parametrize(
    "target",
    [
        "ftp://host/",
        "https://",
        "https://ann:password@host/",
        "mailto:",
        "mailto:ann@host\nBcc: x@y",
        "mailto:-bs@",
        "true",
        "/bin",
        "/nowhere/program",
        "/bin/true 'open",
        "",
    ],
)
def test_other_texts_are_no_targets(target: str) -> None:
    with pytest.raises(HostError, match="nothing can be sent there"):
        channels.check(target)


def test_a_program_reads_json(tmp_path: Path) -> None:
    program = a_program(tmp_path / "told", f'cat > "{tmp_path}/$1"')
    channels.send(f"{program} here", FACTS)
    assert json.loads((tmp_path / "here").read_text()) == FACTS


def test_a_program_that_fails(tmp_path: Path) -> None:
    program = a_program(tmp_path / "told", "echo no >&2; exit 3")
    with pytest.raises(HostError, match="status 3") as failed:
        channels.send(str(program), FACTS)
    assert failed.value.log == ("no",)


def test_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sendmail = a_program(tmp_path / "sendmail", f'echo "$@" > {tmp_path}/argv; cat > {tmp_path}/mail')
    monkeypatch.setattr(shutil, "which", lambda *_a, **_k: str(sendmail))
    channels.send("mailto:ann@example.com", FACTS | {"text": "disk: wrong:\nBcc: other@example.com"})
    mail = (tmp_path / "mail").read_text()
    assert (tmp_path / "argv").read_text() == "-t -i\n"
    assert "To: ann@example.com" in mail and "detail: it is full" in mail
    assert not any(line.startswith("Bcc:") for line in mail.splitlines())


def test_without_a_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_a, **_k: None)
    with pytest.raises(HostError, match="no sendmail"):
        channels.send("mailto:ann@example.com", FACTS)


CALLS = {"text": "by @everyone: <!channel> & <http://evil|link>"}


@pytest.mark.parametrize(
    ("style", "body"),
    [
        ("slack", {"text": "by @\u200beveryone: &lt;!channel&gt; &amp; &lt;http://evil|link&gt;"}),
        (
            "discord",
            {
                "content": "by @\u200beveryone: <!channel> & <http://evil|link>",
                "allowed_mentions": {"parse": []},
            },
        ),
        ("json", CALLS),
    ],
)
def test_what_pushers_write_calls_nobody(style: channels.Style, body: dict[str, object]) -> None:
    with listening() as webhook:
        channels.send(webhook.url, CALLS, style)
    assert webhook.notices == [body]


@pytest.mark.parametrize(
    ("target", "style"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", "slack"),
        ("https://discord.com/api/webhooks/1/x", "discord"),
        ("https://chat.example.com/hooks/x", "json"),
        ("mailto:ann@hooks.slack.com", "json"),
    ],
)
def test_a_known_server_has_its_style(target: str, style: str) -> None:
    assert channels.style_of(target) == style


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1:1/x-secret",
        "https://localhost/x-secret",
        "http://example.com/x-secret",
        "mailto:ann@example.com",
        "/bin/true",
    ],
)
def test_a_pusher_reaches_no_server_of_the_machine_and_no_program(target: str) -> None:
    with pytest.raises(HostError) as refused:
        channels.send_public(target, FACTS, [], "app shop: HOOK")
    assert "secret" not in str(refused.value)
    assert ("not on the Internet" if "https" in target else "not an https:// address") in refused.value.what


@pytest.mark.parametrize(
    "subject",
    [
        "x =?utf-8?q?y=0ABcc:_other@example.com=0A?= z",
        "=?utf-8?B?eA0KQmNjOiBvdGhlckBleGFtcGxlLmNvbQ==?=",
        "=?x-unknown?q?=ff?= \u00e9",
        "x\x00\x1b]0;title\x07 =?=?utf-8?q?=0ABcc:_other@example.com?=?=",
        "=" * 300 + "?",
    ],
)
def test_a_commits_subject_adds_no_header_to_a_mail(
    subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library decodes encoded words, line breaks among them, and sendmail obeys each header."""
    sendmail = a_program(tmp_path / "sendmail", f"cat > {tmp_path}/mail")
    monkeypatch.setattr(shutil, "which", lambda *_a, **_k: str(sendmail))
    channels.send(
        "mailto:ann@example.com", FACTS | {"text": subject, "subject": subject, "detail": f"a\n{subject}"}
    )
    head, _, body = (tmp_path / "mail").read_text().partition("\n\n")
    headers = {line.partition(":")[0] for line in head.splitlines() if not line.startswith((" ", "\t"))}
    assert headers == {"To", "Subject", "Content-Type", "Content-Transfer-Encoding", "MIME-Version"}
    assert not any(line.startswith("Bcc") for line in body.splitlines())


@pytest.mark.parametrize("style", ["slack", "discord"])
def test_a_commits_subject_draws_no_link_with_another_text(style: channels.Style) -> None:
    with listening() as webhook:
        channels.send(webhook.url, {"text": "see [the log](https://example.com/evil)"}, style)
    assert "](" not in str(webhook.notices) and "example.com" in str(webhook.notices)

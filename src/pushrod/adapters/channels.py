"""How a notice reaches a person: a webhook, mail through this machine's sendmail, or a program."""

import contextlib
import http.client
import json
import os
import shlex
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Mapping
from email.message import EmailMessage
from typing import TYPE_CHECKING, Literal

from pushrod.core.errors import HostError
from pushrod.core.modules import later
from pushrod.core.patterns import lazy
from pushrod.system import processes

if TYPE_CHECKING:
    from pushrod.adapters import https, internet
else:
    https, internet = later("pushrod.adapters.https"), later("pushrod.adapters.internet")

_TIMEOUT = 30.0  # seconds
_MAIL = lazy(r"mailto:([A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.-]{1,253})")
_URL = lazy(r"https?://[^\s@]{1,2000}")
_HINT = "correct it: `pushrod host notify add …`, then `pushrod host notify test`"
_HEADERS = {"Content-Type": "application/json", "User-Agent": "pushrod"}
_LONGEST = 1900  # characters of a message; Discord takes 2000

Style = Literal["json", "slack", "discord"]
"""The body of a webhook's request: all facts as JSON, or the text alone as Slack (and Mattermost, Rocket.Chat) or
Discord reads it."""


def check(target: str) -> str:
    """The kind of a target: `webhook`, `mail` or `program`. Raises HostError for any other text."""
    if _URL.fullmatch(target) and urllib.parse.urlsplit(target).hostname:
        return "webhook"
    if _MAIL.fullmatch(target):
        return "mail"
    argv = _argv(target)
    if argv and argv[0].startswith("/") and os.access(argv[0], os.X_OK) and not os.path.isdir(argv[0]):  # noqa: PTH112
        return "program"
    raise HostError(
        "nothing can be sent there",
        hint="give https://…, mailto:person@example.com, or the absolute path of a program with its arguments",
    )


def shown(target: str) -> str:
    """A target without what may be a secret in it: of a webhook's address only the server."""
    kind = check(target)
    return f"{'/'.join(target.split('/')[:3])}/…" if kind == "webhook" else target


def send(target: str, facts: Mapping[str, str], style: Style = "json") -> None:
    """Deliver a message; `text` of the facts is the whole in one line. Raises HostError unless it was accepted."""
    kind = check(target)
    body = json.dumps(dict(facts), ensure_ascii=False)
    if kind == "webhook":
        _post(target, _body(facts, style))
    elif kind == "mail":
        _mail(target, facts)
    else:
        _run(_argv(target), body, shown(target))


def send_public(target: str, facts: Mapping[str, str], allowed: Collection[str], where: str) -> None:
    """Deliver a message to a webhook that a commit names: over HTTPS, to a server that everybody can reach
    or that is `allowed`. An error names `where`, not the address. Raises HostError unless it was accepted.
    """
    server = internet.parse(target)
    if server is None:
        raise HostError(
            "its value is not an https:// address, or has a name or a password in it", where=where
        )
    body = _body(facts, style_of(target)).encode()
    try:
        with contextlib.closing(https.Client(allowed, _TIMEOUT)) as client:
            for _ in client.ask("POST", target, _HEADERS, body, 0):
                break
    except (OSError, ValueError, http.client.HTTPException, https.FetchError) as e:
        why = getattr(e, "strerror", None) or str(e) or type(e).__name__
        raise HostError(f"the webhook cannot be reached: {why}", where=where) from None


def style_of(target: str) -> Style:
    """The style that a target takes if it is a webhook of a known service; for all others `json`."""
    host = urllib.parse.urlsplit(target).hostname or "" if _URL.fullmatch(target) else ""
    known: dict[str, Style] = {
        "hooks.slack.com": "slack",
        "discord.com": "discord",
        "discordapp.com": "discord",
    }
    return known.get(host, "json")


def _body(facts: Mapping[str, str], style: Style) -> str:
    """A request's body. Facts contain what pushers write, which must not call people (`@channel`) or draw links."""
    if style == "json":
        return json.dumps(dict(facts), ensure_ascii=False)
    text = facts["text"][:_LONGEST].replace("@", "@\u200b").replace("](", "]\u200b(")
    if style == "discord":
        return json.dumps({"content": text, "allowed_mentions": {"parse": []}})
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):  # docs.slack.dev: escaping text
        text = text.replace(character, entity)
    return json.dumps({"text": text})


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn the POST into a GET, which looks like success."""

    def redirect_request(self, *_args: object, **_more: object) -> None:
        """None: the answer counts as it is."""


def _post(url: str, body: str) -> None:
    request = urllib.request.Request(url, body.encode(), _HEADERS, method="POST")  # noqa: S310  its form is checked
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=_TIMEOUT) as answer:
            status = answer.status
    except urllib.error.HTTPError as e:
        raise HostError(f"the webhook answers {e.code}", where=shown(url), hint=_HINT) from None
    except (OSError, ValueError) as e:
        why = getattr(e, "reason", e)
        raise HostError(f"the webhook cannot be reached: {why}", where=shown(url), hint=_HINT) from None
    if not 200 <= status < 300:
        raise HostError(f"the webhook answers {status}", where=shown(url), hint=_HINT)


def _mail(target: str, facts: Mapping[str, str]) -> None:
    program = shutil.which("sendmail", path="/usr/sbin:/usr/lib:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise HostError(
            "there is no sendmail", where=target, hint="apt-get install a mail server, such as msmtp-mta"
        )
    message = EmailMessage()
    message["To"] = target.removeprefix("mailto:")
    message["Subject"] = _plain(facts["text"])[:200]
    message.set_content(
        "\n".join(f"{name}: {_plain(value)}" for name, value in facts.items() if value and name != "text")
        + "\n"
    )
    _run([program, "-t", "-i"], message.as_string(), target)


def _plain(text: str) -> str:
    """What pushers write as one line of a mail. Without `=?` there is no encoded word (RFC 2047), which the library
    would decode, line breaks among it: a commit's subject could add a header, and another recipient.
    """
    printable = "".join(c if c.isprintable() else " " for c in text.replace("=?", "= ?"))
    return " ".join(printable.split())


def _run(argv: list[str], text: str, where: str) -> None:
    done = processes.run(argv, stdin=text, timeout=_TIMEOUT)
    if done.status != 0:
        lines = tuple((done.stderr or done.stdout).splitlines()[-5:])
        raise HostError(f"it ended with status {done.status}", where=where, hint=_HINT, log=lines)


def _argv(target: str) -> list[str]:
    try:
        return shlex.split(target)
    except ValueError:
        return []

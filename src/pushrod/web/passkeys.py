"""Passkeys (WebAuthn) at the page's domain: a member's own, and the log-in with one. `webauthn` checks them.

A passkey proves the person to this domain alone, so a page that only looks like ours gets nothing.
"""

import base64
import hashlib
import json
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pushrod.core.errors import UnknownNameError
from pushrod.core.times import now
from pushrod.web.access import Passkey
from pushrod.web.answers import Site, message, shown
from pushrod.web.challenges import decoded
from pushrod.web.guard import member, visit

ENTER = "enter"
"""The purpose of a challenge for the log-in."""


class _Id(msgspec.Struct):
    """Of a credential in JSON, the part that finds its public key."""

    id: str


def available(site: Site, origin: str) -> bool:
    """Whether a page at this address has passkeys: only at the page's domain."""
    return bool(site.hosts.domain) and origin == f"https://{site.hosts.domain}"


# ---- log-in ---------------------------------------------------------------------------------------------------


def question(site: Site, origin: str) -> str:
    """What a browser is asked at the log-in, as JSON; empty where there are no passkeys."""
    if not available(site, origin):
        return ""
    asked = {
        "challenge": site.challenges.make(ENTER),
        "rpId": site.hosts.domain,
        "userVerification": "required",
    }
    return json.dumps(asked)


def entered(site: Site, origin: str, form: dict[str, str]) -> str:
    """The token of a session of the member whose passkey has signed our challenge; empty for anything else."""
    challenge, credential = form.get("challenge", ""), form.get("credential", "")
    expected = site.challenges.good(challenge, ENTER) if available(site, origin) else b""
    if not expected:
        return ""
    try:
        known = site.who.passkey(msgspec.json.decode(credential, type=_Id).id)
    except (msgspec.DecodeError, UnicodeError):
        return ""
    if known is None or known.domain != site.hosts.domain:
        return ""
    from webauthn import verify_authentication_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        proved = verify_authentication_response(
            credential=credential,
            expected_challenge=expected,
            expected_rp_id=known.domain,
            expected_origin=origin,
            credential_public_key=decoded(known.key),
            credential_current_sign_count=known.count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return ""
    if not site.challenges.use(challenge):
        return ""
    return site.who.enter_by_passkey(known.id, proved.new_sign_count)


# ---- a member's own -------------------------------------------------------------------------------------------


def own(site: Site, request: Request) -> Response:
    """The member's passkeys, and a new one."""
    here = visit(request)
    if not available(site, here.origin):
        raise UnknownNameError(
            "passkeys are for the page at its domain", hint="as root: pushrod host web on --domain NAME"
        )
    who = member(request)
    if request.method == "POST":
        if remove := here.form.get("remove", ""):
            site.who.remove_passkey(who.name, remove)
        elif not _added(site, request):
            return message(
                403, "Not added", "The browser's answer does not fit.", "Load the page, and try again."
            )
        return RedirectResponse("/passkeys", 303)
    listed = site.who.passkeys(who.name)
    return shown(
        request, "passkeys.html", keys=listed, question=_creation(site, request, [p.id for p in listed])
    )


def _purpose(request: Request) -> str:
    """A challenge for a new passkey is for this session alone."""
    return f"add {hashlib.sha256(visit(request).session.encode()).hexdigest()}"


def _creation(site: Site, request: Request, known: list[str]) -> str:
    name = member(request).name
    asked: dict[str, Any] = {
        "challenge": site.challenges.make(_purpose(request)),
        "rp": {"id": site.hosts.domain, "name": "pushrod"},
        "user": {"id": _encoded(hashlib.sha256(name.encode()).digest()), "name": name, "displayName": name},
        "pubKeyCredParams": [{"type": "public-key", "alg": number} for number in (-8, -7, -257)],
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
        "excludeCredentials": [{"type": "public-key", "id": one} for one in known],
    }
    return json.dumps(asked)


def _added(site: Site, request: Request) -> bool:
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    here = visit(request)
    challenge = here.form.get("challenge", "")
    expected = site.challenges.good(challenge, _purpose(request))
    if not expected:
        return False
    try:
        proved = verify_registration_response(
            credential=here.form.get("credential", ""),
            expected_challenge=expected,
            expected_rp_id=site.hosts.domain,
            expected_origin=here.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError):
        return False
    if not site.challenges.use(challenge):
        return False
    site.who.add_passkey(
        Passkey(
            id=_encoded(proved.credential_id),
            name=member(request).name,
            key=_encoded(proved.credential_public_key),
            domain=site.hosts.domain,
            added=now(),
            count=proved.sign_count,
        )
    )
    return True


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")

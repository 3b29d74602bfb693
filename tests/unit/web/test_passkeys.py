"""Passkeys at the page's domain: added by a member, used to log in; forged, old, and of others."""

import html
import json
import re

import pytest
from starlette.testclient import TestClient

from tests.unit.web.authenticator import Authenticator
from tests.unit.web.conftest import Web

DOMAIN = "ops.example.com"
ORIGIN = f"https://{DOMAIN}"
FROM_US = {"origin": ORIGIN}


@pytest.fixture
def page(web: Web) -> Web:
    web.domain = DOMAIN
    return web


def member(web: Web, name: str = "ann") -> TestClient:
    client = web.client(ORIGIN)
    answer = client.post("/enter", data={"link": web.who.invite(name, "viewer")}, headers=FROM_US)
    assert answer.status_code == 303
    return client


def question(client: TestClient, path: str) -> str:
    match = re.search(r'data-question="([^"]*)"', client.get(path).text)
    assert match, path
    return html.unescape(match[1])


def seal(client: TestClient) -> str:
    match = re.search(r'name="seal" value="([0-9a-f]{64})"', client.get("/passkeys").text)
    assert match
    return match[1]


def add(client: TestClient, key: Authenticator, asked: str = "") -> int:
    asked = asked or question(client, "/passkeys")
    form = {
        "seal": seal(client),
        "challenge": json.loads(asked)["challenge"],
        "credential": key.create(asked),
    }
    return client.post("/passkeys", data=form, headers=FROM_US).status_code


def enter(client: TestClient, key: Authenticator, asked: str = "") -> int:
    asked = asked or question(client, "/enter")
    form = {"challenge": json.loads(asked)["challenge"], "credential": key.get(asked)}
    return client.post("/enter", data=form, headers=FROM_US).status_code


def test_a_member_adds_a_passkey_and_logs_in_with_it(page: Web) -> None:
    key, first = Authenticator(DOMAIN), member(page)
    assert add(first, key) == 303
    (known,) = page.who.passkeys("ann")
    other = page.client(ORIGIN)
    assert enter(other, key) == 303
    assert "ann <small>viewer" in other.get("/").text
    (used,) = page.who.passkeys("ann")
    assert (known.count, used.count) == (1, 2)


def test_it_is_removed_by_its_owner_alone(page: Web) -> None:
    key, ann, bob = Authenticator(DOMAIN), member(page), member(page, "bob")
    add(ann, key)
    (known,) = page.who.passkeys("ann")
    bob.post("/passkeys", data={"seal": seal(bob), "remove": known.id}, headers=FROM_US)
    assert page.who.passkeys("ann") == [known]
    assert known.id[:12] not in bob.get("/passkeys").text
    ann.post("/passkeys", data={"seal": seal(ann), "remove": known.id}, headers=FROM_US)
    assert page.who.passkeys("ann") == []
    assert enter(page.client(ORIGIN), key) == 403


def test_it_ends_with_the_member_and_does_not_become_an_owners(page: Web) -> None:
    key, other = Authenticator(DOMAIN), Authenticator(DOMAIN)
    add(member(page), key)
    page.who.own("ann")  # whoever runs pushrod as root, and may be another person of that name
    assert page.who.passkeys("ann") == []
    add(member(page, "bob"), other)
    page.who.remove("bob")
    page.who.invite("bob", "owner")
    assert [enter(page.client(ORIGIN), one) for one in (key, other)] == [403, 403]


@pytest.mark.parametrize(
    "forged",
    [
        Authenticator("evil.example.com", ORIGIN),
        Authenticator(DOMAIN, "https://evil.example.com"),
        Authenticator(DOMAIN, f"http://{DOMAIN}"),
        Authenticator(DOMAIN),
    ],
    ids=["another domain", "another origin", "without TLS", "another key"],
)
def test_what_another_page_or_another_key_signs_logs_nobody_in(page: Web, forged: Authenticator) -> None:
    key = Authenticator(DOMAIN)
    add(member(page), key)
    forged.id = key.id
    client = page.client(ORIGIN)
    assert enter(client, forged) == 403
    assert client.get("/").status_code == 401


@pytest.mark.parametrize("count", [0, 1])
def test_an_answer_works_once_and_only_for_a_challenge_of_ours(page: Web, count: int) -> None:
    """Also of a device that does not count, as those that share a passkey with others."""
    key = Authenticator(DOMAIN)
    key.count = count
    add(member(page), key)
    client = page.client(ORIGIN)
    asked = question(client, "/enter")
    form = {"challenge": json.loads(asked)["challenge"], "credential": key.get(asked)}
    again = [client.post("/enter", data=form, headers=FROM_US).status_code for _ in range(2)]
    assert again == [303, 403]
    assert enter(client, key, json.dumps({"challenge": "A" * 75})) == 403
    creation = question(member(page, "bob"), "/passkeys")  # for another purpose
    assert enter(client, key, creation) == 403


def test_a_challenge_for_a_new_passkey_is_of_one_session(page: Web) -> None:
    ann, bob = member(page), member(page, "bob")
    assert add(ann, Authenticator(DOMAIN), question(bob, "/passkeys")) == 403
    assert page.who.passkeys("ann") == []


def test_a_copy_of_a_passkey_shows_by_its_count(page: Web) -> None:
    key = Authenticator(DOMAIN)
    add(member(page), key)
    key.count = 9
    assert enter(page.client(ORIGIN), key) == 303
    key.count = 5
    assert enter(page.client(ORIGIN), key) == 403


def test_a_device_that_did_not_ask_its_person_is_refused(page: Web) -> None:
    key = Authenticator(DOMAIN)
    add(member(page), key)
    key.verifies = False
    assert enter(page.client(ORIGIN), key) == 403
    assert add(member(page, "bob"), key) == 403


@pytest.mark.parametrize(
    "text", ["", "x", "{}", "[]", '{"id": 1}', '{"id": "A", "rawId": "A"}', '{"id":"\\ud800"}', "{" * 9000]
)
def test_what_is_no_credential_is_refused(page: Web, text: str) -> None:
    client = page.client(ORIGIN)
    challenge = json.loads(question(client, "/enter"))["challenge"]
    form = {"challenge": challenge, "credential": text}
    assert client.post("/enter", data=form, headers=FROM_US).status_code == 403
    own = member(page)
    mine = {"seal": seal(own), "challenge": json.loads(question(own, "/passkeys"))["challenge"]}
    answer = own.post("/passkeys", data={**mine, "credential": text}, headers=FROM_US)
    assert answer.status_code == 403


def test_a_broken_credential_with_a_known_id_is_refused(page: Web) -> None:
    key = Authenticator(DOMAIN)
    add(member(page), key)
    client = page.client(ORIGIN)
    asked = question(client, "/enter")
    whole = json.loads(key.get(asked))
    for name in ("clientDataJSON", "authenticatorData", "signature"):
        for value in ("", "AAAA", "not base64!", None, 7):
            broken = {**whole, "response": {**whole["response"], name: value}}
            form = {"challenge": json.loads(asked)["challenge"], "credential": json.dumps(broken)}
            answer = page.client(ORIGIN).post("/enter", data=form, headers=FROM_US)
            assert answer.status_code == 403, (name, value)


def test_on_loopback_there_are_none(web: Web) -> None:
    client = web.visitor()
    assert client.get("/passkeys").status_code == 404
    assert "data-question" not in web.client().get("/enter").text
    assert "Passkeys" not in client.get("/").text

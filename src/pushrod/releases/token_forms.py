"""Tokens that their vendors give a fixed beginning, in a text, and whether a text can be random. Pure.

Each form has letters with which every such token begins, so that a file without them is passed over quickly, and a
regular expression whose group is the random part. Forms that detect-secrets knows well enough are not repeated here.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pushrod.core.patterns import lazy

AWS, NPM = "AWS Access Key", "NPM tokens"
"""Names that detect-secrets uses too."""


class Token(NamedTuple):
    """A token: its kind, its value, the random part of that, and its first character's place in the text."""

    kind: str
    value: str
    random: str
    place: int


class _Form(NamedTuple):
    kind: str
    begins: tuple[str, ...]
    pattern: re.Pattern[str]


def _form(kind: str, begins: str, pattern: str) -> _Form:
    """A form whose regular expression begins with one of the words in `begins`. Its own end must be there too."""
    return _Form(kind, tuple(begins.split()), lazy(rf"(?:{pattern})(?![A-Za-z0-9_])"))


_HEX, _BASE = "[a-f0-9]", "[A-Za-z0-9]"
_SET = r"(?:[ \t]*(?:=>|[=:>,])[ \t]*|[ \t]+)"  # between a name and its value
_FORMS = (
    _form("GitHub Token", "github_pat_", r"github_pat_(\w{70,255})"),
    _form(NPM, "npm_", f"npm_({_BASE}{{36}})"),
    _form(NPM, "_authToken", rf"_authToken[ \t]*=[ \t]*[\"']?({_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})"),
    *(
        _form(AWS, name, rf"{name}\\?[\"']?{_SET}\\?[\"']?([A-Za-z0-9/+]{{40}})(?![/+=])")
        for name in ("ECRET_ACCESS_KEY", "ecret_access_key", "ecretAccessKey")
    ),
    _form("OpenAI Token", "sk-proj- sk-svcacct- sk-admin-", r"sk-(?:proj|svcacct|admin)-([\w-]{40,255})"),
    _form("OpenAI Token", "T3BlbkFJ", f"sk-({_BASE}{{20}}T3BlbkFJ{_BASE}{{20}})"),
    _form("Anthropic Token", "sk-ant-", r"sk-ant-[a-z]{2,9}\d\d-([\w-]{80,128})"),
    _form("OpenRouter Token", "sk-or-v1-", f"sk-or-v1-({_HEX}{{64}})"),
    _form("Google API Key", "AIza", r"AIza([\w-]{35})(?!-)"),
    _form("Google OAuth Secret", "GOCSPX-", r"GOCSPX-([\w-]{28})(?!-)"),
    _form("Hugging Face Token", "hf_", "hf_([A-Za-z0-9]{34})"),
    _form("DigitalOcean Token", "dop_v1_ doo_v1_ dor_v1_", f"do[por]_v1_({_HEX}{{64}})"),
    _form("Slack Token", "xapp-", f"xapp-\\d-[A-Z0-9]+-\\d+-({_HEX}{{64}})"),
    _form("Slack Token", "xoxe", rf"xoxe(?:\.xox[bp])?-\d-({_BASE}{{100,255}})"),
    _form("Docker Token", "dckr_pat_ dckr_oat_", r"dckr_[po]at_([\w-]{27,40})"),
    _form("Stripe Webhook Secret", "whsec_", f"whsec_({_BASE}{{32,64}})"),
    _form("Shopify Token", "shpat_ shpca_ shppa_ shpss_", "shp(?:at|ca|pa|ss)_([a-fA-F0-9]{32})"),
    _form("Vault Token", "hvs.", r"hvs\.([\w-]{90,255})"),
    _form("RubyGems Token", "rubygems_", f"rubygems_({_HEX}{{48}})"),
    _form("Grafana Token", "glsa_", f"glsa_({_BASE}{{32}})_{_HEX}{{8}}"),
    _form("Linear Token", "lin_api_", f"lin_api_({_BASE}{{40}})"),
    _form("Groq Token", "gsk_", f"gsk_({_BASE}{{52}})"),
    _form("Supabase Token", "sbp_", f"sbp_({_HEX}{{40}})"),
    _form("Postman Token", "PMAK-", f"PMAK-({_HEX}{{24}}-{_HEX}{{34}})"),
    _form("Brevo Token", "xkeysib-", f"xkeysib-({_HEX}{{64}}-{_BASE}{{16}})"),
    _form("Databricks Token", "dapi", f"dapi({_HEX}{{32}})(?:-\\d)?"),
    _form("New Relic Token", "NRAK-", "NRAK-([A-Z0-9]{27})"),
    _form("PlanetScale Token", "pscale_", r"pscale_(?:pw|tkn|oauth)_([\w-]{32,64})"),
    _form("Tailscale Token", "tskey-", rf"tskey-[a-z]{{3,9}}-{_BASE}{{8,24}}-({_BASE}{{20,40}})"),
    _form("Telegram Bot Token", ":AA", r":AA([\w-]{33})(?!-)"),
    _form("Azure Storage Account access key", "AccountKey=", r"AccountKey=([A-Za-z0-9+/]{86})=="),
    _form("xAI Token", "xai-", f"xai-({_BASE}{{80}})"),
    _form("Perplexity Token", "pplx-", f"pplx-({_BASE}{{48}})"),
    _form("Replicate Token", "r8_", f"r8_({_BASE}{{37}})"),
    _form("Atlassian Token", "ATATT3", r"ATATT3([\w=-]{186})(?![=-])"),
    _form("Notion Token", "ntn_", rf"ntn_\d{{11}}({_BASE}{{35}})"),
    _form("Figma Token", "figd_", r"figd_([\w-]{40})(?!-)"),
    _form("Sentry Token", "sntrys_", r"sntrys_eyJ[A-Za-z0-9+/=]{20,400}_([A-Za-z0-9+/]{43})(?![+/])"),
    _form("Doppler Token", "dp.pt.", rf"dp\.pt\.({_BASE}{{40,44}})"),
    _form("age Secret Key", "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1([0-9A-Z]{58})"),
)  # fmt: skip
_BEGINS = tuple({word.encode(): None for form in _FORMS for word in form.begins})
# Forms that begin in the middle of a name.
_WITHIN = frozenset(("ECRET_ACCESS_KEY", "ecret_access_key", "ecretAccessKey", "_authToken"))
_BOUNDARY = lazy(r"(?:^|[^0-9A-Za-z_]|\\[nrt]|%[0-9A-Fa-f]{2})$")
_BOT = lazy(r"(?<!\d)\d{8,10}$")
# A key of Google's that browsers and phones get is not a secret: Firebase's, and that of a page's maps. Google
# restricts its use by the site's address. Each form is what comes immediately before the key.
_SO = r"[\"']?\s*[:=,]\s*\{?\s*@?[\"'`]"  # between a name and its value, in JavaScript, JSON, JSX and Gradle
_PUBLIC = lazy(
    "(?:"
    + "|".join(
        (
            rf"current_key{_SO}",  # google-services.json
            rf"[\"']google_(?:api|crash_reporting_api|maps|maps_api)_key(?:[\"'][^<>]{{0,80}}>\s*|{_SO})",
            r"<key>API_KEY</key>\s*<string>",  # GoogleService-Info.plist
            r"com\.google\.android\.(?:geo|maps(?:\.v2)?)\.API_KEY[\"']\s+android:value=[\"']",
            r"provideAPIKey\(\s*@?[\"']",
            r"maps/(?:api/(?:js|staticmap|streetview)|embed(?:/v1/\w+)?)\?(?:[^\s\"'<>`]*(?:[&;]|\\u0026))?key="
            r"(?:[\"'`]\s*\+\s*[\"'`])?",
            rf"googleMapsApiKey{_SO}",
            rf"(?:googleMaps[\"']?\s*:|bootstrapURLKeys=\{{|\bLoader\()\s*\{{\s*[\"']?(?:apiK|k)ey{_SO}",
        )
    )
    + ")$"
)
_MAPS_KEY = lazy(rf"\(\s*\{{\s*[\"']?key{_SO}$")  # Google's own snippet that loads maps
_MAPS_VERSION = lazy(r"[\"'`]\s*,\s*[\"']?v[\"']?\s*:\s*[\"'`](?:weekly|quarterly|beta|alpha|\d)")
_FIREBASE = lazy(
    r"auth_?domain|firebaseapp\.com|firebaseoptions|(?-i:storageBucket)|firebase_?storage_?bucket"
    r"|messaging_?sender_?id|appspot\.com|firebasestorage\.app",
    re.IGNORECASE,
)
# The name alone, or what tools for pages and apps put in front of it: not that of another of Google's services.
_FIREBASE_KEY = lazy(
    r"(?:(?<![a-z0-9_])(?:set)?|(?:public|vite|react_app|vue_app|ng_app|gatsby|nuxt|expo|firebase|fb)_?"
    r"(?:(?:web|app|config|firebase|fb)_?){0,3})api_?key\W{1,24}$",
    re.IGNORECASE,
)
_BEFORE, _AROUND = 400, 400  # characters in which the use of such a key is named


def may_be_in(raw: bytes) -> bool:
    """Whether a file may contain such a token."""
    return any(word in raw for word in _BEGINS)


def find(text: str) -> Iterator[Token]:
    """The texts of these forms, whether random or not."""
    for form in _FORMS:
        if not any(word in text for word in form.begins):
            continue
        for match in form.pattern.finditer(text):
            if _stands_alone(form, text, match.start()) and not _is_public(form, text, match):
                random = next(filter(None, match.groups()))
                value = random if form.kind in (AWS, NPM) and form.begins[0] in _WITHIN else match[0]
                yield Token(form.kind, value, random, match.start())


def _stands_alone(form: _Form, text: str, start: int) -> bool:
    """Whether the token begins there: what comes before is not the end of a word."""
    if form.begins[0] in _WITHIN:
        return True
    if form.begins[0] == ":AA":
        return _BOT.search(text[max(0, start - 11) : start]) is not None
    return _BOUNDARY.search(text[max(0, start - 3) : start]) is not None


def _is_public(form: _Form, text: str, match: re.Match[str]) -> bool:
    if form.begins[0] != "AIza":
        return False
    before = text[max(0, match.start() - _BEFORE) : match.start()]
    around = text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
    firebase = _FIREBASE_KEY.search(before) and _FIREBASE.search(around)
    maps = _MAPS_KEY.search(before) and _MAPS_VERSION.match(text, match.end())
    return bool(firebase or maps) or _PUBLIC.search(before) is not None


# ---- random or not ------------------------------------------------------------------------------------------------

_PLACEHOLDER = lazy(
    r"(?i:example|sample|placeholder|change|abcdefgh|12345678|a1b2c3|qwerty|pacific)|[yY]our|YOUR|(.)\1{5}"
)
_WORD = lazy("[A-Z]?[a-z]{2,}")
# A name has fewer characters outside words; of 20 random characters, one case in 2000 has as few.
_NO_WORDS = 0.1


def is_random(text: str) -> bool:
    """Whether a text can be random: no placeholder, no name, and varied (Shannon entropy in bits per character).

    16 random characters out of 32 have about 3.6, and less than 2.7 in one case of 100,000.
    """
    counts = Counter(text).values()
    entropy = -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
    return entropy >= 2.7 and not _PLACEHOLDER.search(text) and not is_made_of_words(text)


def is_made_of_words(text: str) -> bool:
    """Whether a text of at least 20 characters is a name or a path: `getTheKeyOfTheStore`, `src/handlers/Orders`."""
    letters = re.sub("[_./+-]", "", text)
    return len(text) >= 20 and len(_WORD.sub("", letters)) <= _NO_WORDS * len(letters)

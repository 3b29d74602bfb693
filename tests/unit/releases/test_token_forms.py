"""Tokens with a fixed beginning. No sample stands here whole."""

import random
import string

import pytest

from pushrod.releases import token_forms
from pushrod.releases.token_forms import find

_WORD, _HEX = string.ascii_letters + string.digits, "0123456789abcdef"


def some(length: int, alphabet: str = _WORD) -> str:
    return "".join(random.choices(alphabet, k=length))


TOKENS = {
    "GitHub": "github" + f"_pat_{some(22)}_{some(59)}",
    "npm": "npm" + f"_{some(36)}",
    "OpenAI": "sk-" + f"proj-{some(48)}",
    "OpenAI, service": "sk-" + f"svcacct-{some(48)}",
    "OpenAI, older": "sk-" + f"{some(20)}T3Blbk" + f"FJ{some(20)}",
    "Anthropic": "sk-" + f"ant-api03-{some(93)}AA",
    "OpenRouter": "sk-" + f"or-v1-{some(64, _HEX)}",
    "Google": "AI" + f"za{some(35)}",
    "Google OAuth": "GOC" + f"SPX-{some(28)}",
    "Hugging Face": "h" + f"f_{some(34)}",
    "DigitalOcean": "dop" + f"_v1_{some(64, _HEX)}",
    "Slack, app": "xa" + f"pp-1-A{some(10, string.ascii_uppercase)}-{some(13, string.digits)}-{some(64, _HEX)}",
    "Docker": "dckr" + f"_pat_{some(27)}",
    "Stripe": "whs" + f"ec_{some(32)}",
    "Shopify": "shp" + f"at_{some(32, _HEX)}",
    "Vault": "hv" + f"s.{some(95)}",
    "Grafana": "gl" + f"sa_{some(32)}_{some(8, _HEX)}",
    "Supabase": "sb" + f"p_{some(40, _HEX)}",
    "Telegram": f"{some(10, '123456789')}:A" + f"A{some(33)}",
    "Azure": "Account" + f"Key={some(86)}==;EndpointSuffix=core.windows.net",
    "xAI": "xa" + f"i-{some(80)}",
    "Perplexity": "ppl" + f"x-{some(48)}",
    "Replicate": "r" + f"8_{some(37)}",
    "Atlassian": "ATA" + f"TT3{some(177)}={some(8, string.hexdigits[:10] + 'ABCDEF')}",
    "Notion": "nt" + f"n_{some(11, string.digits)}{some(35)}",
    "Figma": "fi" + f"gd_{some(40)}",
    "Sentry": "sntr" + f"ys_eyJpYXQiO{some(120)}==_{some(43)}",
    "Doppler": "dp" + f".pt.{some(43)}",
    "age": "AGE-SECRET" + f"-KEY-1{some(58, string.ascii_uppercase + string.digits)}",
    "AWS, in a Dockerfile": "aws_secret_access" + f"_key {some(40)}",
    "AWS, JSON in JSON": '{\\"Secret' + f'AccessKey\\": \\"{some(40)}\\"}}',
    "AWS, XML": "<Secret" + f"AccessKey>{some(40)}</SecretAccessKey>",
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENS)
def test_a_token_is_found_in_whatever_form_it_is_written(name: str) -> None:
    token = TOKENS[name]
    for text in (
        token,
        f"A={token}\n",
        f'"key": "{token}",',
        f"x: {token}\r\n",
        f'"A=1\\n{token}"',
        f"a?k%3D{token}",
    ):
        assert token_forms.may_be_in(text.encode())
        assert [t.random for t in find(text)], text
        assert all(text.startswith(t.value, text.find(t.value)) for t in find(text))


@pytest.mark.parametrize("name", [n for n in TOKENS if not n.startswith(("AWS", "Azure", "Telegram"))])
def test_a_part_of_a_longer_word_is_no_token(name: str) -> None:
    assert not [*find(f"abc{TOKENS[name]}")]
    assert name in ("OpenAI", "OpenAI, service", "Vault", "Stripe", "Anthropic") or not [
        *find(f"{TOKENS[name]}{some(300)}")
    ]


MAPS = "https://maps.googleapis.com/maps/api"
OF_BROWSERS = {
    "Firebase": '{apiKey: "@@", authDomain: "shop.firebaseapp.com"}',
    "Firebase without a domain": '{\n  apiKey: "@@",\n  projectId: "shop",\n  storageBucket: "shop",\n}',
    "Firebase, its number": '{"apiKey": "@@", "messagingSenderId": "1234"}',
    "Firebase, its bucket": "{ apiKey: '@@', bucket: 'shop.appspot.com' }",
    "Firebase, variables": "VITE_FIREBASE_API_KEY=@@\nVITE_FIREBASE_STORAGE_BUCKET=shop\n",
    "Firebase, of a page": "REACT_APP_API_KEY=@@\nREACT_APP_AUTH_DOMAIN=shop\n",
    "Firebase, abbreviated": "VITE_APP_FB_API_KEY=@@\nVITE_APP_FB_AUTH_DOMAIN=shop\n",
    "Flutter": "static const web = FirebaseOptions(\n    apiKey:\n        '@@',\n    appId: '1',\n  );",
    "Android, built": 'new FirebaseOptions.Builder().setApiKey("@@").build()',
    "google-services.json": '"api_key": [{"current_key": "@@"}]',
    "GoogleService-Info.plist": "<key>API_KEY</key>\n\t<string>@@</string>",
    "strings.xml": '<string name="google_maps_key" translatable="false">@@</string>',
    "Gradle": 'resValue "string", "google_maps_key", "@@"',
    "AndroidManifest.xml": '<meta-data android:name="com.google.android.geo.API_KEY"\n   android:value="@@"/>',
    "iOS": 'GMSServices.provideAPIKey("@@")',
    "script": f'<script src="{MAPS}/js?key=@@">',
    "script, far behind": f'<script src="{MAPS}/js?callback={"x" * 80}&amp;libraries=places,geometry&amp;key=@@">',
    "script, put together": f'src = "{MAPS}/js?key=" + "@@" + "&v=3"',
    "image": f"![]({MAPS}/staticmap?center=Rome&zoom=9&markers=color:red%7C1,2&key=@@)",
    "frame": '<iframe src="https://www.google.com/maps/embed/v1/place?q=Rome&key=@@">',
    "bootstrap": '(g=>{var h,a,k})({key: "@@", v: "weekly"});',
    "React": "<LoadScript googleMapsApiKey=\"@@\">",
    "React, in braces": "useJsApiLoader({ googleMapsApiKey: '@@' })",
    "Expo": '"config": {"googleMaps": {"apiKey": "@@"}}',
    "loader": 'new Loader({\n  apiKey: "@@",\n  libraries: ["places"]})',
}  # fmt: skip
OF_SERVERS = {
    "Gemini": "GEMINI=@@\nFIREBASE=shop.firebaseapp.com\n",
    "Gemini beside Firebase": "GEMINI_API_KEY=@@\nFIREBASE_STORAGE_BUCKET=shop.appspot.com\n",
    "Gemini in a page": "VITE_GEMINI_API_KEY=@@\nVITE_FIREBASE_AUTH_DOMAIN=shop.firebaseapp.com\n",
    "a program with a bucket": 'BUCKET = env("STORAGE_BUCKET")\nask(api_key="@@")',
    "a client of Gemini": 'genai.configure(api_key="@@")',
    "a name alone": "MAPS_KEY=@@\n",
    "a variable": 'google_api_key = "@@"',
    "YouTube": "https://www.googleapis.com/youtube/v3/search?part=snippet&key=@@",
    "geocoding": f"{MAPS}/geocode/json?address=Rome&key=@@",
    "a script before it": f'<script src="{MAPS}/js?key="></script>\nTRANSLATE_KEY=@@',
    "a public key before it": '"current_key": "x",\n"translate_key": "@@"',
    "an object with a key": 'ask({key: "@@", q: "Rome"})',
}  # fmt: skip


@pytest.mark.parametrize("name", OF_BROWSERS)
def test_a_key_that_browsers_and_phones_get_is_no_secret(name: str) -> None:
    assert not [*find(OF_BROWSERS[name].replace("@@", TOKENS["Google"]))]


@pytest.mark.parametrize("name", OF_SERVERS)
def test_a_key_of_the_same_form_that_a_server_uses_is_found(name: str) -> None:
    assert [*find(OF_SERVERS[name].replace("@@", TOKENS["Google"]))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (some(40), True),
        ("xxxxxxxxxxxxxxxxxxxxxxxxxxxx", False),
        ("YOUR_SECRET_KEY_GOES_HERE_123", False),
        ("getTheKeyFromTheStoreWithName", False),
        ("k7cssyT5CyOUR84Ru5hWc14uC7zVFpzbC1Xyv7aB", True),
    ],
    ids=["random", "one letter", "your", "words", "with the letters of your"],
)
def test_a_random_text_is_no_placeholder_and_no_name(text: str, expected: bool) -> None:
    assert token_forms.is_random(text) == expected

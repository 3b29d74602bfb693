"""A compose file of any text is read, or refused with a message, quickly and with little memory."""

import json
import resource
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pushrod import manifest
from pushrod.adapters import compose, dockerfile, sandbox
from pushrod.adapters.reading_limits import Reading, check_yaml
from pushrod.core import limits
from pushrod.core.errors import ManifestError, PushrodError
from pushrod.core.limits import Machine
from pushrod.manifest import policy

MOST = Reading(size=200_000, values=5_000)
TERMS = policy.Terms("docker", limits.defaults(Machine(memory=4 << 30, cpus=2, tasks=10_000)))
PIECES = (
    *("services:", "web:", "image: a", "build: .", "ports:", "- '80'", "- 80:80", "include:", "extends:", "file: x"),
    *("env_file:", "&a", "*a", "<<: *a", "[", "]", "{", "}", ",", ":", "- ", "? ", "| ", ">", "!reset", "!"),
    *("\n", "\n  ", "\n    ", "\n      ", "#", '"', "'", "---", "...", "%YAML", "\t", "${A}", "${A:-b}", "${A:?c}"),
    *("x-pushrod:", "domains: [a.b]", "routes:", "/:", "health: /", "null", "true", "1e999", "0x7f", "~", "../x"),
    *("\x00", "\x1b[2J", "\u202e", "é", "\ufeff", "\ud7ff", "healthcheck:", "volumes:", "/etc", "$$", "!!binary"),
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=60).map("".join)

# Keys and values of a service as people write them, in wrong places.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 1 << 40),
    st.text(max_size=8),
    st.sampled_from(("80", "1s", "${A:-x}", ".")),
)
KEYS = (
    *("image", "build", "ports", "command", "environment", "volumes", "depends_on", "healthcheck", "deploy"),
    *("env_file", "x-pushrod", "profiles", "restart", "user", "labels", "expose", "tmpfs", "configs", "secrets"),
    *("context", "dockerfile", "target", "args", "test", "interval", "replicas", "domains", "routes", "tls", "scale"),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
SERVICES = st.dictionaries(
    st.sampled_from(("web", "db", "a.b", "-", "worker")),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5),
    max_size=3,
)


@given(TEXTS)
@example("a: &a [*a]")
@example("[" * 5000)
@example("{a: " * 5000)
@example(
    "\n".join(["x0: &x0 [y]"] + [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 50)}]" for n in range(1, 100)])
)
def test_any_text_is_counted_or_refused(text: str) -> None:
    try:
        check_yaml(text.encode(errors="replace"), MOST, "compose.yaml")
    except ManifestError as e:
        assert e.where.startswith("compose.yaml")
        assert e.hint


@given(st.binary(max_size=300), st.sampled_from(("compose.yaml", "x.yaml")))
def test_any_bytes_are_checked_or_refused(raw: bytes, other: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / other).write_bytes(raw)
        if other != "compose.yaml":
            (directory / "compose.yaml").write_text(
                "include: [x.yaml]\nservices: {a: {extends: {file: x.yaml, service: b}}}"
            )
        try:
            sandbox.check_named(directory, "compose.yaml", MOST)
        except ManifestError as e:
            assert e.where


@given(TEXTS)
def test_any_dockerfile_is_read_or_refused(text: str) -> None:
    try:
        dockerfile.read("FROM a\n" + text, target="", arguments={}, where="Dockerfile")
    except PushrodError as e:
        assert e.what


@settings(max_examples=settings.default.max_examples // 5 if settings.default else 10)
@given(st.one_of(TEXTS, SERVICES.map(lambda result: json.dumps({"services": result}))))
def test_a_document_from_the_loader_is_accepted_or_refused(text: str) -> None:
    """With the loader in use, and everything that reads its result."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "compose.yaml").write_bytes(text.encode(errors="replace"))
        (directory / "Dockerfile").write_text("FROM python:3.13-slim\nCMD python -m http.server\n")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        try:
            document = compose.load(directory, project="app", variables={"A": "value-of-a"}, most=MOST)
            document, _ = policy.apply(document, TERMS)
            manifest.read(
                document, engine="docker", bases=compose.bases(document, directory, MOST), store_versions={}
            )
        except PushrodError as e:
            assert e.what
            assert "Traceback" not in e.what
            assert "goroutine" not in e.what
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < max(before, 700 << 10)  # KiB

"""Builds of images, and the part of their output that a person sees."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pushrod.adapters.docker.commands import FULL, docker, environment, known, last_words
from pushrod.adapters.docker.local_images import BUILD, OnLine
from pushrod.core.errors import BuildError
from pushrod.core.lines import split
from pushrod.core.patterns import lazy
from pushrod.system import processes

_PRIVATE = lazy(r"(?i)(?:\w+_)?(?:token|secret|password|passwd|key|credentials|dsn|url)")
"""Build arguments that count as secrets because of their names. None of these names has a meaning for Docker's
programs, their children, or ld.so.
"""
_PRUNE = 300.0  # seconds to prune one build cache


def build(
    context: Path,
    *,
    dockerfile: Path,
    labels: Mapping[str, str],
    arguments: Mapping[str, str | None],
    target: str,
    where: str,
    at: Path,
    on_line: OnLine,
) -> str:
    """Build an image from a directory on an app's own engine; returns its ID. Raises BuildError with `where`.

    The value of an argument named like a secret is passed through the environment, where other accounts of the
    machine cannot see it. All other names are passed in the argv: LD_PRELOAD or DOCKER_CONFIG in the environment
    would give the app the rights of pushrod's account.
    """
    private = {n: v for n, v in arguments.items() if v is not None and _PRIVATE.fullmatch(n)}
    # Build steps use the network of the engine, which has no other.
    argv = ["docker", "build", "--network=host", "--file", str(dockerfile)]
    argv += [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
    for argument, value in arguments.items():
        argv += ["--build-arg", argument if argument in private or value is None else f"{argument}={value}"]
    argv += ["--target", target] if target else []
    # On an engine before 23 the client uses the builder that preceded BuildKit unless this is set.
    variables = environment(at) | private | {"BUILDKIT_PROGRESS": "plain", "DOCKER_BUILDKIT": "1"}

    first: list[str] = []  # the first line: later ones may be a step's own words

    def on_output(line: str) -> None:
        first.extend([line] if not first and line.strip() else [])
        if shown := _progress(line):
            on_line(shown)

    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "id"
        argv += ["--iidfile", str(written), str(context)]
        done = processes.run(argv, env=variables, timeout=BUILD, on_line=on_output)
        # A host whose owner installed Docker without it.
        if done.status != 0 and any(_NO_BUILDX in line for line in first):
            on_line(
                "without BuildKit: the Docker client lacks buildx (docker-buildx, or docker-buildx-plugin)"
            )
            done = processes.run(
                argv, env=variables | {"DOCKER_BUILDKIT": "0"}, timeout=BUILD, on_line=on_output
            )
        if done.status == 0:
            return written.read_text().strip()
    # Only the builder's own last lines: a build step, or its text, may contain such words too. But a full disk is
    # detected by a step, and reported before the Dockerfile lines that the builder shows.
    end = split(done.stdout)[-20:]
    own = [*filter(FULL.search, end), *(line for line in end[-5:] if not _STEP.match(line))]
    raise known("\n".join(own), "docker build") or BuildError(
        f"the image could not be built: {last_words(done.stdout).removeprefix('ERROR: ')}",
        where=where,
        hint="the lines above are the build's output; `docker build` in the repository shows the same",
    )


_NO_BUILDX = "buildx component is missing"

_STEP = lazy(r"#|>>>|-{3,}| *\d+ \||The command |.*process \".*did not complete successfully")
"""The builder's output about a failed step: its text and its output."""

# BuildKit's and the older builder's messages about themselves, between the lines of the build.
_CHATTER = lazy(
    r"DONE|CACHED|\[internal\]|transferring |exporting |writing image|naming to|unpacking|building with|resolve "
    r"|sha256:|extracting |FROM |\.\.\.|\[auth\]|--->|Removing intermediate|Sending build context|-{6,}"
)


def _progress(line: str) -> str:
    """A line of a build as people want to read it; empty for the builder's messages about itself."""
    text = re.sub(r"^#\d+ (\d+\.\d+ )?", "", line).rstrip()
    return "" if _CHATTER.match(text.lstrip()) else text


def prune_builds(hours: int, at: Path | None = None) -> None:
    """Remove entries of an engine's build cache that were last used this many hours ago, or earlier."""
    docker("builder", "prune", "--all", "--force", "--filter", f"until={hours}h", timeout=_PRUNE, at=at)

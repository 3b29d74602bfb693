"""Builds of images, and what of them a person is shown."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pushrod.adapters.docker.commands import FULL, docker, environment, known, last_words
from pushrod.adapters.docker.local_images import BUILD, OnLine
from pushrod.core.errors import BuildError
from pushrod.core.lines import split
from pushrod.system import processes

_PRIVATE = re.compile(r"(?i)(?:\w+_)?(?:token|secret|password|passwd|key|credentials|dsn|url)")
"""Build arguments that are taken for secrets by their names. None of these names means anything to Docker's programs,
to what they start, or to the loader of programs."""
_PRUNE = 300.0  # seconds to prune one cache of builds


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
    """Build an image from a directory on an engine of the app's own; its ID. Raises BuildError, which says `where`.

    An argument that is named like a secret reaches Docker's program through the environment, where other accounts
    of the machine do not see it. No other does: LD_PRELOAD or DOCKER_CONFIG there would be a way to become us.
    """
    private = {n: v for n, v in arguments.items() if v is not None and _PRIVATE.fullmatch(n)}
    # Its steps are in the network of the engine, which has no other.
    argv = ["docker", "build", "--network=host", "--file", str(dockerfile)]
    argv += [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
    for argument, value in arguments.items():
        argv += ["--build-arg", argument if argument in private or value is None else f"{argument}={value}"]
    argv += ["--target", target] if target else []
    # On an engine before 23 the client asks for the builder that came before BuildKit, unless it is told.
    variables = environment(at) | private | {"BUILDKIT_PROGRESS": "plain", "DOCKER_BUILDKIT": "1"}

    def heard(line: str) -> None:
        if shown := _progress(line):
            on_line(shown)

    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "id"
        argv += ["--iidfile", str(written), str(context)]
        done = processes.run(argv, env=variables, timeout=BUILD, on_line=heard)
        if (
            done.status != 0 and _NO_BUILDX in done.stdout
        ):  # a host whose owner has installed Docker without it
            on_line(
                "without BuildKit: the Docker client lacks buildx (docker-buildx, or docker-buildx-plugin)"
            )
            done = processes.run(argv, env=variables | {"DOCKER_BUILDKIT": "0"}, timeout=BUILD, on_line=heard)
        if done.status == 0:
            return written.read_text().strip()
    # Only the builder's own last words: a step of the build, or its text, may have such words too. But a full disk
    # is found by a step, and told of before the lines of the Dockerfile that the builder shows.
    end = split(done.stdout)[-20:]
    own = [*filter(FULL.search, end), *(line for line in end[-5:] if not _STEP.match(line))]
    raise known("\n".join(own), "docker build") or BuildError(
        f"the image could not be built: {last_words(done.stdout).removeprefix('ERROR: ')}",
        where=where,
        hint="the lines above are the build's own; `docker build` in the repository shows the same",
    )


_NO_BUILDX = "buildx component is missing"

_STEP = re.compile(r"#|>>>|-{3,}| *\d+ \||The command |.*process \".*did not complete successfully")
"""What a builder shows of a step that has failed: its text and what it printed."""

# What BuildKit and the older builder say of themselves, between the lines of the build.
_CHATTER = re.compile(
    r"DONE|CACHED|\[internal\]|transferring |exporting |writing image|naming to|unpacking|building with|resolve "
    r"|sha256:|extracting |FROM |\.\.\.|\[auth\]|--->|Removing intermediate|Sending build context|-{6,}"
)


def _progress(line: str) -> str:
    """A line of a build as people want to read it; empty for what the builder says of itself."""
    text = re.sub(r"^#\d+ (\d+\.\d+ )?", "", line).rstrip()
    return "" if _CHATTER.match(text.lstrip()) else text


def prune_builds(hours: int, at: Path | None = None) -> None:
    """Remove from an engine's cache of builds what was last used so many hours ago, or longer."""
    docker("builder", "prune", "--all", "--force", "--filter", f"until={hours}h", timeout=_PRUNE, at=at)

"""Refusals of what a manifest may not have: by name, with the grant that would allow it. Pure."""

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from pushrod.core.errors import ManifestError
from pushrod.manifest import grants
from pushrod.manifest.document import Key
from pushrod.manifest.grants import WORDS

_REFUSED = {
    "provider": ("a provider program cannot replace a service", "run it as a service of its own image"),
    "models": ("`models` are not supported", "run the model as a service"),
    "dockerfile_inline": (
        "expected a separate Dockerfile (`dockerfile: Dockerfile`)",
        "write the lines into a file and commit it",
    ),
    "ssh": (
        "`build.ssh` is not supported: a build on the host sees only the commit and its `args`",
        "put what the build needs into the repository, or fetch it when the app starts",
    ),
    "secrets": (
        "`build.secrets` is not supported: a build on the host sees only the commit and its `args`",
        "put what the build needs into the repository, or fetch it when the app starts",
    ),
    "image": ("another image's files cannot be mounted", "copy them in the Dockerfile: COPY --from=…"),
    "subpath": (
        "a part of a volume cannot be mounted on the embedded engine",
        "give what is mounted a volume of its own, or deploy to a host with Docker",
    ),
    "external": (
        "external configs and secrets need Swarm, which is not available",
        "use `environment: NAME` with `pushrod secret set NAME`, or a file of the repository",
    ),
}


def refuse_key(key: Key) -> NoReturn:
    """Raise ManifestError for a key that is refused whatever its value."""
    what, hint = _REFUSED[key.path.rpartition(".")[2]]
    raise ManifestError(what, where=key.path, hint=hint)


class Want(NamedTuple):
    """Something of the host that a key asks for, and the grant that allows it."""

    key: Key
    word: str


def refuse(wants: Sequence[Want], app: str) -> NoReturn:
    """Raise ManifestError about the first of these; the hint names the grants for all of them."""
    words = " ".join("privileged" if w == "ALL" else w for w in dict.fromkeys(w.word for w in wants))
    raise ManifestError(
        f"{_described(wants[0])}, which this host does not allow the app",
        where=wants[0].key.path,
        hint=f"the host's owner can allow it: pushrod apps allow {app} {words}",
    )


def _described(want: Want) -> str:
    word = want.word
    if word in WORDS:
        return f"it asks for {WORDS[word].partition(' (')[0].partition(':')[0].partition(';')[0]}"
    if word.startswith("/"):
        return f"it asks for `{word}` of the host"
    if word.startswith(grants.VOLUME):
        return f"it asks for the volume `{word.removeprefix(grants.VOLUME)}`, which is not the app's own"
    if word.startswith(grants.VAULT):
        return f"it asks for the vault `{word.removeprefix(grants.VAULT)}`"
    return f"it asks for the capability {word}" if word != "ALL" else "it asks for every capability"


def unsupported(key: Key, what: str, hint: str) -> NoReturn:
    """Raise ManifestError for a key that no grant allows."""
    raise ManifestError(what, where=key.path, hint=hint)

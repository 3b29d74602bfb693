"""Variables that a person still has to set: those of `.env.example`, and those of an env file outside Git."""

from pathlib import Path

from pushrod.adapters import compose
from pushrod.core.values import Manifest
from pushrod.engines.protocols import Engine
from pushrod.manifest import env_example
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets
from pushrod.stores import variables


def lacking(
    app: App, engine: Engine, document: compose.Document, manifest: Manifest, checkout: Path, file: str = ""
) -> tuple[str, ...]:
    """The variables that `.env.example`, beside the compose file or at the top, lists and that neither the
    secrets nor pushrod provide.
    """
    file = file or app.settings.file
    examples = (checkout / Path(file).parent / ".env.example", checkout / ".env.example")
    # A link, in any part of the path, could lead to another app's names.
    example = next(
        (e for e in examples if e.is_file() and e.resolve() == checkout.resolve() / e.relative_to(checkout)),
        None,
    )
    if example is None:
        return ()
    given = variables.provided(manifest.stateless, engine.stores.endpoints(app, manifest))
    known = {*Secrets(app).variables(), *given}
    asked = env_example.parse(example.read_text(errors="replace"))
    return env_example.names(asked, known, document, env_file=compose.wants_env_file(checkout, file))


def unprovided(app: App, checkout: Path, file: str = "") -> tuple[str, ...]:
    """A note if services read an env file that is not in Git and no secret replaces it."""
    if not compose.wants_env_file(checkout, file or app.settings.file) or Secrets(app).variables():
        return ()
    return (
        "an `env_file` is not in Git, so the app's secrets replace it, but none is set: "
        "pushrod secret import .env",
    )

"""What goes into a release besides its commit."""

from pushrod import __version__
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets


def digest(app: App) -> str:
    """A keyed digest of everything besides the commit that goes into a release of an app now."""
    settings, secrets = app.settings, Secrets(app)
    # without one, the digest must stay as older releases have it
    others = [settings.file] if settings.file else []
    return secrets.digest([secrets.variables(), settings.replicas, __version__, *others])

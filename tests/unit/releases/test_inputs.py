"""What goes into a release besides its commit."""

import msgspec

from pushrod.releases import inputs
from pushrod.state.apps import App
from pushrod.state.secrets import Secrets


def test_the_digest_changes_with_secrets_replicas_and_the_compose_file(app: App) -> None:
    seen = [inputs.digest(app)]
    assert inputs.digest(app) == seen[0]
    Secrets(app).store({"TOKEN": "value"})
    seen.append(inputs.digest(app))
    app.save(msgspec.structs.replace(app.settings, replicas={"backend": 2}))
    seen.append(inputs.digest(app))
    app.save(msgspec.structs.replace(app.settings, file="deploy/compose.yaml"))
    seen.append(inputs.digest(app))
    assert len(set(seen)) == 4

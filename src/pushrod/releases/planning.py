"""What deploying a commit would do, for `pushrod plan`. Builds and changes nothing."""

import os

from pushrod.adapters import git
from pushrod.core import plan
from pushrod.releases import unset_variables
from pushrod.releases.context import Context


def of(context: Context, commit: str, file: str = "") -> plan.Plan:
    """Return what deploying a commit would change and require; `file` replaces the app's own compose file.

    Builds and changes nothing.
    """
    checkout = context.app.checkouts / f"plan-{os.getpid()}"
    try:
        document, manifest = context.sealing.load(commit, checkout, planned=True, file=file)
        images = {
            s.name: context.engine.images.identify(context.app, commit, s, checkout)
            for s in context.engine.images.needed(manifest)
        }
        changes = plan.compare(context.live(), manifest.stateless, manifest.stores, images)
        foreseen, needs = context.engine.images.preview(context.app, commit, document, manifest, checkout)
        lacking = unset_variables.lacking(context.app, context.engine, document, manifest, checkout, file)
        engine_notes = context.engine.images.notes(context.app, document, manifest, checkout, images)
        migrations = context.sealing.migration_notes(commit, checkout)
        unprovided = unset_variables.unprovided(context.app, checkout, file)
        notes = (*manifest.notes, *engine_notes, *unprovided, *migrations)
        return plan.Plan(
            manifest.because, context.app.name, commit, changes + foreseen, needs, notes, lacking
        )
    finally:
        git.remove_checkout(checkout)

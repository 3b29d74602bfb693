"""`x-pushrod.notify`: which webhooks get notices of the app's deployments and alarms. Pure."""

from pushrod.core.patterns import lazy
from pushrod.manifest.document import Key

_VARIABLE = lazy(r"[A-Z_][A-Z0-9_]{0,99}")
_MOST = 5


def read(key: Key) -> tuple[str, ...]:
    """The names of the variables that contain the addresses. Never an address itself: whoever knows it can write to
    the channel, and the manifest is in Git. Raises ManifestError for anything else."""
    names = tuple(dict.fromkeys(item.text() for item in key.sequence()))
    for item in key.sequence():
        if not _VARIABLE.fullmatch(item.text()):
            item.wrong(
                "the name of a variable with a webhook's address",
                hint="pushrod secret set CHAT_WEBHOOK; then `notify: [CHAT_WEBHOOK]`",
            )
    if len(names) > _MOST:
        key.wrong(f"at most {_MOST} names")
    return names

"""A failure of a backup is recorded; what is none is not."""

import errno

import pytest

from pushrod.backups.failures import recorded
from pushrod.core.errors import BusyError, Expired, HostError, Interrupted, PushrodError, StoreError

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("raised", "kind", "record"),
    [
        (StoreError("it is away", where="store db"), StoreError, (6, "it is away", "store db")),
        (NO_ROOM, HostError, (10, "no space left on device", "the vault")),
        (Expired("it has taken too long"), Expired, (10, "it has taken too long", "")),
        (BusyError("a vault is being pruned"), BusyError, None),
        (Interrupted("interrupted by SIGTERM"), Interrupted, None),
    ],
)
def test_what_is_recorded_and_raised(
    raised: BaseException, kind: type[BaseException], record: tuple[int, str, str] | None
) -> None:
    errors: list[PushrodError] = []
    with pytest.raises(kind), recorded(errors.append, "the vault"):
        raise raised
    assert [(e.exit_code, e.what, e.where) for e in errors] == ([record] if record else [])

"""Records why a part of a backup failed, in the app's files, where `pushrod doctor` and the alarm find it."""

import contextlib
from collections.abc import Callable, Iterator

from pushrod.core.errors import BusyError, Expired, HostError, PushrodError
from pushrod.system import files


@contextlib.contextmanager
def recorded(record: Callable[[PushrodError], None], where: str) -> Iterator[None]:
    """If the block fails, or its time is over, call `record` with the error. Raises the error, as a PushrodError that
    names `where` if it is the system's.

    Neither an interruption nor another command's work (BusyError) is recorded: the next run tries again.
    """
    try:
        yield
    except BusyError:
        raise
    except Expired as e:
        record(HostError(e.what, hint=e.hint))
        raise
    except PushrodError as e:
        record(e)
        raise
    except OSError as e:
        error = files.os_error(e, where)
        record(error)
        raise error from e

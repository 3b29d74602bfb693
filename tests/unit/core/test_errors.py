"""The classes of failure and their exit codes, which scripts rely on."""

from pushrod.core import errors
from pushrod.core.errors import PushrodError


def test_every_class_of_failure_has_an_exit_code_and_a_kind_of_its_own() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, PushrodError)]
    assert len(classes) > 10
    assert len({c.exit_code for c in classes}) == len({c.kind for c in classes}) == len(classes)


def test_exit_codes_stay_what_they_are() -> None:
    """0 is success and 2 is click's usage error; none of them may be used here."""
    codes = {c.kind: c.exit_code for c in PushrodError.__subclasses__()} | {"internal": 1}
    assert codes == {
        "internal": 1,
        "manifest": 3,
        "repository": 4,
        "build": 5,
        "store": 6,
        "release-command": 7,
        "ready": 8,
        "edge": 9,
        "host": 10,
        "state": 11,
        "name": 12,
        "busy": 13,
        "interrupted": 130,
    }


def test_an_error_carries_place_remedy_and_log() -> None:
    error = PushrodError("broken", where="here", hint="mend it", log=("a", "b"))
    assert str(error) == error.what == "broken"
    assert (error.where, error.hint, error.log) == ("here", "mend it", ("a", "b"))

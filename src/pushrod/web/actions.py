"""What the buttons do: for each action its verb, what it asks, and what it says before it is done. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pushrod.core.errors import UnknownNameError
from pushrod.web.facts import Page

Form = Mapping[str, str]


class Field(NamedTuple):
    """A question of an action. `kind` is an input's type; `choices` are its answers, if it has only some."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = True


class Asked(NamedTuple):
    """The words of a verb, and what it reads on standard input."""

    words: tuple[str, ...]
    stdin: str = ""


class Action(NamedTuple):
    """A button: the verb that it runs, its label, what it says before, its questions, and the call they lead to."""

    verb: str
    label: str
    says: str
    fields: Callable[[Page], tuple[Field, ...]] = lambda _page: ()
    asks: Callable[[Form], Asked] = lambda _form: Asked(())
    danger: bool = False

    def call(self, app: str, form: Form) -> Asked:
        """What to call for an app and the answers. UnknownNameError if an answer is missing."""
        asked = self.asks(form)
        return Asked((*self.verb.split(), "--app", app, *asked.words), asked.stdin)


def _answer(form: Form, name: str) -> str:
    value = form.get(name, "").strip()
    if not value:
        raise UnknownNameError(f"`{name}` has no answer", hint="go back and fill it in")
    return value


# ---- rollback -------------------------------------------------------------------------------------------------


def _rollback_fields(page: Page) -> tuple[Field, ...]:
    kept: dict[int, str] = {}
    for one in page.history:
        if one.kept and not one.live and one.promotion.live_at:
            kept.setdefault(one.promotion.release, one.subject)
    choices = tuple(
        (str(number), f"{number} “{subject}”") for number, subject in sorted(kept.items(), reverse=True)
    )
    yes = Field(
        "across_migrations",
        "Even if the database’s schema has changed since",
        "checkbox",
        "yes",
        "The older code must be able to work with the newer schema.",
        required=False,
    )
    return (Field("release", "Release", choices=choices), yes)


def _rollback(form: Form) -> Asked:
    across = ("--across-migrations",) if form.get("across_migrations") == "yes" else ()
    return Asked((*across, "--", _answer(form, "release")))


# ---- scale, maintenance, secrets ------------------------------------------------------------------------------


def _scale_fields(page: Page) -> tuple[Field, ...]:
    services = page.release.services if page.release else ()
    counts = [(s.name, len(page.release.instances_of(s.name)) if page.release else 0) for s in services]
    choices = tuple((name, f"{name} (now {count})") for name, count in counts if count)
    return (
        Field("service", "Service", choices=choices),
        Field("count", "Instances", "number", "2", "From 1 to 100."),
    )


def _scale(form: Form) -> Asked:
    return Asked(("--", f"{_answer(form, 'service')}={_answer(form, 'count')}"))


def _maintenance_fields(_page: Page) -> tuple[Field, ...]:
    return (
        Field(
            "allow",
            "Addresses that may still pass",
            hint="Addresses or networks such as 203.0.113.0/24, separated by spaces.",
            required=False,
        ),
        Field("retry_after", "Seconds after which others should retry", "number", "300"),
    )


def _maintenance(form: Form) -> Asked:
    allowed = (word for one in form.get("allow", "").split() for word in ("--allow", one))
    return Asked((*allowed, "--retry-after", _answer(form, "retry_after")))


def _secret_fields(_page: Page) -> tuple[Field, ...]:
    return (
        Field("name", "Name", hint="Such as STRIPE_KEY."),
        Field("value", "Value", "password", hint="It is never shown again; the next release has it."),
    )


ACTIONS: dict[str, Action] = {
    "rollback": Action(
        "rollback",
        "Roll back",
        "An older release becomes live again, without a build, a release command or a dropped request. "
        "It returns with the secrets and counts that it had.",
        _rollback_fields,
        _rollback,
        danger=True,
    ),
    "restart": Action(
        "restart",
        "Restart",
        "Every instance is replaced by a new one of the live commit, without a dropped request. "
        "This makes a new release.",
    ),
    "scale": Action(
        "scale",
        "Scale",
        "The service runs in that many instances, without a dropped request. Later releases keep the count.",
        _scale_fields,
        _scale,
    ),
    "maintenance-on": Action(
        "maintenance on",
        "Close for maintenance",
        "The edge answers every request with 503 and a page that says so. "
        "Instances and stores keep running. It lasts until it is opened again.",
        _maintenance_fields,
        _maintenance,
        danger=True,
    ),
    "maintenance-off": Action("maintenance off", "Open again", "The app’s requests reach it again."),
    "backup": Action("db backup", "Back up now", "The app’s stores are backed up while they run."),
    "verify": Action(
        "db verify",
        "Verify the last backup",
        "The newest backup is restored into a database beside the real one, counted, and removed.",
    ),
    "renew": Action("cert renew", "Renew the certificate", "The certificate is renewed if it is due."),
    "secret-set": Action(
        "secret set",
        "Set a secret",
        "The variable is stored; instances get it with the next release (restart, or a push).",
        _secret_fields,
        lambda form: Asked(("--", _answer(form, "name"), "-"), _answer(form, "value")),
    ),
    "secret-unset": Action(
        "secret unset",
        "Remove a secret",
        "The variable is removed; the next release no longer has it.",
        lambda _page: (Field("name", "Name"),),
        lambda form: Asked(("--", _answer(form, "name"))),
        danger=True,
    ),
    "down": Action(
        "down",
        "Stop the app",
        "The edge stops answering for the app, then its instances and stores end. All data stays. "
        "A restart, or a push, starts it again.",
        danger=True,
    ),
}
"""The actions by the last part of their path, in the order of their buttons."""


def available(page: Page) -> list[str]:
    """The actions that make sense for an app now."""
    live, closed = page.release is not None, page.status.maintenance is not None
    down = page.status.condition == "down"
    sense = {
        "rollback": bool(_rollback_fields(page)[0].choices),
        "restart": live,
        "scale": live and not down,
        "maintenance-on": not closed,
        "maintenance-off": closed,
        "backup": live and not down and bool(page.release and page.release.stores),
        "verify": bool(page.release and page.release.stores),
        "renew": bool(page.release and page.release.tls.source != "off"),
        "down": live and not down,
    }
    return [key for key in ACTIONS if sense.get(key, True)]

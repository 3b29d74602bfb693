"""Frozen values: the manifest, releases, and their parts.

These have no behaviour; the other modules take and return them. Times are in seconds unless a name says otherwise;
paths inside a release are relative to the commit's checkout.
"""

from typing import Annotated, Literal

import msgspec

Role = Literal["entry", "worker", "store", "edge", "job"]
StoreKind = str
"""The name of a kind of store: `stores.registry` has the kinds."""

EngineName = Literal["embedded", "docker"]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value that decodes strictly: an unknown key is an error."""


class Build(Value, frozen=True):
    """Where a service's image is built from: a directory of the checkout and a Dockerfile in it.

    `target` is the stage to build (empty: the last one). `arguments` are the build arguments; None means the value is
    taken from the environment. `of` names the service that owns the image, if that is another service. `siblings`
    maps names that the Dockerfile has for images to the services that build these; `stores` maps those of the
    services that are stores to their build contexts.
    """

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: str = ""
    arguments: dict[str, str | None] = {}
    of: str = ""
    siblings: dict[str, str] = {}
    stores: dict[str, str] = {}


class Health(Value, frozen=True):
    """How an instance is checked before it may serve.

    `path` is requested over HTTP with `host` as its Host header (empty: the app has no name) and must return 2xx or
    3xx, or any status if `any_answer` is set. `command` must exit with status 0. With neither, an entry's instance
    must accept connections, and a worker must have settled: it waits for work, or has stayed up for `settle`
    seconds. `deadline` counts from the instance's start.
    """

    path: str = ""
    host: str = ""
    any_answer: bool = False
    command: tuple[str, ...] = ()
    deadline: float = 30.0
    interval: float = 0.05
    settle: float = 3.0


class Hook(Value, frozen=True):
    """A command that runs in a service's container after it starts, or before it is stopped.
    Empty `user` and `working_dir` mean the container's own. In `environment`, None means the value is taken from
    the app's secrets if it is set there.
    """

    command: tuple[str, ...]
    user: str = ""
    working_dir: str = ""
    privileged: bool = False
    environment: dict[str, str | None] = {}


class Rate(Value, frozen=True):
    """A request limit per client: `count` in each `period` (seconds: 1 or 60), plus `burst` at once.

    A client is an address or, if `header` is set, a value of that header.
    """

    count: int
    period: int = 1
    burst: int = 0
    header: str = ""


class Cache(Value, frozen=True):
    """How long, in seconds, the edge may cache a response that sets no lifetime itself.

    `key` distinguishes requests. A request with one of `bypass` (`cookie`, `cookie:NAME`, `header:NAME`) goes to
    the app, and its response is not stored.
    """

    seconds: float
    key: str = "$scheme$host$request_uri"
    bypass: tuple[str, ...] = ("header:Authorization", "cookie")


class Auth(Value, frozen=True):
    """Access control: a password from the secret `basic`, or the status that `service` returns at `path` (2xx, or
    401 or 403).

    `passes` are headers of that response that are added to the request.
    """

    basic: str = ""
    service: str = ""
    path: str = ""
    passes: tuple[str, ...] = ()


def _plain(key: str, *, most: int = 0, http_1: bool = False) -> msgspec.Meta:
    """Marks a field of a route as read from a key of the manifest with a plain value: a boolean, a size, a duration.

    Such a key is valid only on routes to a service, with `http_1` only for HTTP, not for gRPC. `most` limits a size.
    """
    return msgspec.Meta(extra={"key": key, "most": most, "http_1": http_1})


class Route(Value, frozen=True):
    """What the edge does with requests at and below `prefix`; the longest matching prefix wins.

    A request goes to the instances of `service`, or is answered from `files` (a directory of the commit) or with
    `redirect`. `volume` is a directory of the app's data with files that `files` lacks; then `files` need not exist.
    `fallback` is the file served if the requested one does not exist. With both files and a service, it gets the
    requests for which there is no file with one of the `suffixes` (none: any). Sizes are in bytes, times in seconds;
    0 means the edge's default.
    """

    prefix: str
    service: str = ""
    files: str = ""
    volume: str = ""
    fallback: str = ""
    suffixes: tuple[str, ...] = ()
    redirect: str = ""
    status: int = 308
    strip: Annotated[bool, _plain("strip_prefix", http_1=True)] = False
    rate: Rate | None = None
    cache: Cache | None = None
    max_body: Annotated[int, _plain("max_body", most=10 << 30)] = 0
    max_headers: Annotated[int, _plain("max_headers", most=64 << 10)] = 0
    timeout: Annotated[float, _plain("timeout")] = 0.0
    stream: Annotated[bool, _plain("stream", http_1=True)] = False
    websocket: Annotated[bool, _plain("websocket", http_1=True)] = False
    grpc: Annotated[bool, _plain("grpc")] = False
    auth: Auth | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    headers: dict[str, str] = {}


class Routing(Value, frozen=True):
    """How the edge treats an app's requests. Requests that match no route go to the entry.

    `sticky` are the services whose clients stay on one instance, by a cookie. `proxies` are the addresses (CIDR)
    whose information about the client is trusted. `snippets` are files of the commit, by name, included in the
    app's server; `memory` is what they let one request allocate, in bytes. `redirects` maps names of the app to the
    names they redirect to.
    """

    routes: tuple[Route, ...] = ()
    sticky: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    snippets: dict[str, str] = {}
    redirects: dict[str, str] = {}
    memory: int = 0

    @property
    def services(self) -> tuple[str, ...]:
        """The services that routes send requests to, sorted by name."""
        named = {r.service for r in self.routes} | {r.auth.service for r in self.routes if r.auth}
        return tuple(sorted(named - {""}))

    @property
    def called(self) -> frozenset[str]:
        """The services that speak gRPC according to a route."""
        return frozenset(r.service for r in self.routes if r.grpc)


class Maintenance(Value, frozen=True):
    """An app is temporarily closed: who may still pass (CIDR), and when others should retry (seconds)."""

    allow: tuple[str, ...] = ()
    retry_after: int = 300


class Volume(Value, frozen=True):
    """A directory or file that a service mounts at `target`, a path in its container: data under the name `source`
    (empty: without a name), or with `bind` the path `source` of the repository, or an absolute one of the machine.
    With `tmpfs`, the options of one, it is an empty file system in memory.
    """

    source: str
    target: str
    bind: bool = False
    read_only: bool = False
    tmpfs: str = ""


class Service(Value, frozen=True):
    """One service of the manifest, with Compose's defaults resolved and pushrod's role derived.

    `command` is the argv from the manifest (empty: the image's own). `port` is the container port that is published
    or exposed (0: none). `environment` maps names to values; None means the value is taken from the app's secrets
    if it is set there. `memory` is the limit in bytes (0: not set). `read_only` makes the root file system
    read-only. `java` marks an image for Java programs. A job has no instances: it runs once for each release,
    before any new instance, and must exit with status 0. With `stop_first` the old release's instances end before
    the new ones start, because only one of them may have the data open. `keeps` marks a store of an unknown kind,
    kept because Compose would leave its container alone. `post_start` and `pre_stop` run in each of its containers,
    on Docker. `metrics` are the port and path of its own metrics. `aliases` are its further names on the embedded
    engine, `volumes` its mounts there; `closed` marks a store there that needs a password, unlike in older releases.
    `settings` are what the manifest sets for a PostgreSQL, `profile` whether a Redis keeps its data.
    """

    name: str
    role: Role
    image: str = ""
    build: Build | None = None
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    environment: dict[str, str | None] = {}
    port: int = 0
    replicas: int = 1
    stop_grace: float = 10.0
    depends_on: tuple[str, ...] = ()
    health: Health = Health()
    release: tuple[str, ...] = ()
    store: StoreKind | None = None
    memory: int = 0
    read_only: bool = False
    java: bool = False
    stop_first: bool = False
    keeps: bool = False
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    aliases: tuple[str, ...] = ()
    volumes: tuple[Volume, ...] = ()
    closed: bool = False
    metrics: tuple[int, str] | None = None
    settings: dict[str, str] = {}
    profile: Literal["", "cache", "durable"] = ""


USUAL_VAULT, NO_VAULT = "default", "none"
"""The vault of every app whose manifest names none, and what it says instead of a name for no copy."""


class Schedule(Value, frozen=True):
    """How often stores are backed up, the backups kept, their vault (empty: the usual), the log (None: with one)."""

    every: Literal["hour", "day", "week", "never"] = "day"
    keep: int = 14
    to: str = ""
    wal: bool | None = None
    volumes: dict[str, str] = {}


class Encryption(Value, frozen=True):
    """Where an app's certificate comes from, and its HSTS period.

    `acme`: a public authority, which may send mail to `email`. `local`: this machine's authority. `files`: those
    given to `cert set`. `hsts`: seconds for which browsers use TLS only; graders accept no less than half a year.
    """

    source: Literal["acme", "local", "files", "off"] = "off"
    email: str = ""
    hsts: int = 15768000


class Manifest(Value, frozen=True):
    """A compose file as pushrod reads it. `notes` are messages to show once: what is not used here, and why.

    `keep` is how many releases stay on the host for rollbacks. `domains` are the names the app answers to. `ours`
    means that the file has `x-pushrod` keys: it was written for pushrod, and an address of a store in it means the
    store with its own role; in any other file every address stays as written. `snippets` are patterns; the files
    they match become the snippets of `routing`. `because` says which service is the entry, and why; `notify` are
    variables with webhooks' addresses.
    """

    services: tuple[Service, ...]
    notes: tuple[str, ...] = ()
    keep: int = 5
    domains: tuple[str, ...] = ()
    ours: bool = True
    backups: Schedule = Schedule()
    tls: Encryption = Encryption()
    routing: Routing = Routing()
    snippets: tuple[str, ...] = ()
    because: str = ""
    notify: tuple[str, ...] = ()

    def service(self, name: str) -> Service:
        """The service with that name; KeyError if there is none."""
        return {s.name: s for s in self.services}[name]

    @property
    def stores(self) -> tuple[Service, ...]:
        """The stateful services, in the manifest's order."""
        return tuple(s for s in self.services if s.role == "store")

    @property
    def stateless(self) -> tuple[Service, ...]:
        """The services of a release: the entry, the workers, and the jobs that run once."""
        return tuple(s for s in self.services if s.role in ("entry", "worker", "job"))

    @property
    def entry(self) -> Service:
        """The service that receives the app's HTTP traffic."""
        return next(s for s in self.services if s.role == "entry")


class Image(Value, frozen=True):
    """The result of building a service: an identity that decides whether it can be reused, and how to run it.

    On the embedded engine `location` is a Python environment or a build, `command` the argv found for the service (in
    the manifest, Dockerfile or Procfile), `environment` what the Dockerfile sets, and `directory` the working
    directory, relative to the checkout; that of a build is absolute. `workdir` is that directory's path in the image,
    `copies` are further files of the checkout with theirs, and `port` is the one that the image or its command names.
    On Docker `id` is the image's ID and `location` the name pushrod gave it.
    """

    id: str
    location: str = ""
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    directory: str = "."
    workdir: str = ""
    copies: tuple[tuple[str, str], ...] = ()
    port: int = 0


class Instance(Value, frozen=True):
    """One copy of a stateless service in a release, at `address` and `port` (0: it does not listen)."""

    name: str
    service: str
    port: int = 0
    address: str = "127.0.0.1"


class Placement(Value, frozen=True):
    """Where a release's instances are. `network` is the block of addresses that its networks share (CIDR); empty if
    instances differ by port only."""

    instances: tuple[Instance, ...]
    network: str = ""


class Release(Value, frozen=True):
    """A sealed release: commit, images and resolved configuration. It never changes once written.

    This is kept in Git, so the environment's values are elsewhere: `environment_names` says which variables each
    service has. `inputs` is a keyed digest of everything but the commit that went into it (secrets, replica counts):
    the same commit with the same inputs is the same release. `notes` are the messages shown about it; `network` is
    the block of addresses of its instances. `passwords` are the edge's password files, by their secret's name.
    """

    app: str
    number: int
    commit: str
    subject: str
    created: str
    engine: EngineName
    entry: str
    services: tuple[Service, ...]
    stores: tuple[Service, ...]
    images: dict[str, Image]
    instances: tuple[Instance, ...]
    environment_names: dict[str, tuple[str, ...]]
    inputs: str
    pushrod: str
    keep: int = 5
    notes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    network: str = ""
    backups: Schedule = Schedule()
    tls: Encryption = Encryption()
    routing: Routing = Routing()
    passwords: dict[str, str] = {}
    notify: tuple[str, ...] = ()

    def service(self, name: str) -> Service:
        """The stateless service with that name; KeyError if there is none."""
        return {s.name: s for s in self.services}[name]

    @property
    def serving(self) -> frozenset[str]:
        """The services that the edge sends requests to."""
        return frozenset((self.entry, *self.routing.services))

    @property
    def migrates_itself(self) -> bool:
        """Whether the app's own role changes the schema, because no service has a release command."""
        return not any(s.release for s in self.services)

    def instances_of(self, service: str) -> tuple[Instance, ...]:
        """The instances of a service."""
        return tuple(i for i in self.instances if i.service == service)


class Line(Value, frozen=True):
    """One line printed by a process; `process` is the name of the instance or store."""

    process: str
    text: str


class Program(Value, frozen=True):
    """A program to run on the user's terminal: its complete argv, directory and environment."""

    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]


class Diagnostic(Value, frozen=True):
    """The result of one check of `pushrod doctor`. `remedy` says what to do if `state` is not `ok`."""

    what: str
    state: Literal["ok", "warning", "broken"]
    detail: str
    remedy: str = msgspec.field(name="mend", default="")


class ProcessState(Value, frozen=True):
    """The engine's current view of a process. `since` is the number of seconds it has been in this state."""

    group: str
    name: str
    state: Literal["starting", "running", "backoff", "failed", "stopping", "stopped"]
    pid: int = 0
    since: float = 0.0
    detail: str = ""

"""The nouns, as frozen values: what the manifest says, what a release is, what runs.

Nothing here does anything; every other module takes these and returns these. Times are seconds unless a
name says otherwise; paths inside a release are relative to the commit's checkout.
"""

from typing import Literal

import msgspec

Role = Literal["entry", "worker", "store", "edge", "job"]
StoreKind = Literal["postgres", "redis"]
EngineName = Literal["embedded", "docker"]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen value that decodes strictly: an unknown key is an error."""


class Build(Value, frozen=True):
    """Where a service's image is built from: a directory of the checkout and a Dockerfile in it.

    `target` is the stage of it that is wanted, empty for the last. `arguments` are the build's own; None means the
    variable is taken from the environment. `of` is the service whose image it is, where that is another one.
    """

    context: str = "."
    dockerfile: str = "Dockerfile"
    target: str = ""
    arguments: dict[str, str | None] = {}
    of: str = ""


class Health(Value, frozen=True):
    """How an instance proves itself before it may serve.

    `path` is asked over HTTP as `host` (empty: the app has no name), and must answer 2xx or 3xx, with `any_answer`
    anything. `command` must end with status 0. With neither, an entry's instance must accept connections and a
    worker's must have settled: wait for work, or stay up for `settle` seconds. `deadline` is how long it has, from
    its start.
    """

    path: str = ""
    host: str = ""
    any_answer: bool = False
    command: tuple[str, ...] = ()
    deadline: float = 30.0
    interval: float = 0.05
    settle: float = 3.0


class Hook(Value, frozen=True):
    """A command that is run in a container of a service after its start, or before it is stopped.

    `user` and `working_dir` are the container's where they are empty. Of `environment` None means the variable is
    taken from the app's secrets if it is there.
    """

    command: tuple[str, ...]
    user: str = ""
    working_dir: str = ""
    privileged: bool = False
    environment: dict[str, str | None] = {}


class Rate(Value, frozen=True):
    """How many requests one client may make: `count` in each `period` (seconds: 1 or 60), and `burst` more at once.

    A client is an address, or where `header` is named, one value of that header.
    """

    count: int
    period: int = 1
    burst: int = 0
    header: str = ""


class Cache(Value, frozen=True):
    """For how many seconds the edge may give an answer again where the answer itself does not say.

    `key` is what tells two requests apart. A request with one of `bypass` (`cookie`, `cookie:NAME`, `header:NAME`)
    goes to the app and its answer is not kept.
    """

    seconds: float
    key: str = "$scheme$host$request_uri"
    bypass: tuple[str, ...] = ("header:Authorization", "cookie")


class Auth(Value, frozen=True):
    """Who may pass: by a password of the secret `basic`, or by what `service` answers at `path` (2xx, or 401 or 403).

    `passes` are headers of that answer that the request then has.
    """

    basic: str = ""
    service: str = ""
    path: str = ""
    passes: tuple[str, ...] = ()


class Route(Value, frozen=True):
    """What the edge does with requests at and below `prefix`, of all routes the longest that fits.

    It goes to the instances of `service`, or is answered from `files`, a directory of the commit, or with `redirect`.
    `fallback` is the file that is shown where there is none. Sizes are bytes, times seconds; 0 is the edge's default.
    """

    prefix: str
    service: str = ""
    files: str = ""
    fallback: str = ""
    redirect: str = ""
    status: int = 308
    strip: bool = False
    rate: Rate | None = None
    cache: Cache | None = None
    max_body: int = 0
    max_headers: int = 0
    timeout: float = 0.0
    stream: bool = False
    websocket: bool = False
    grpc: bool = False
    auth: Auth | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    headers: dict[str, str] = {}


class Routing(Value, frozen=True):
    """How the edge treats an app's requests. What no route says goes to the entry.

    `sticky` are the services whose instances keep their clients, by a cookie. `proxies` are the addresses (CIDR) that
    are believed about who asks. `snippets` are files of the commit, by name, that are part of the app's server, and
    `memory` is what they let a request take, in bytes. `redirects` are names of the app that lead to another of its
    names.
    """

    routes: tuple[Route, ...] = ()
    sticky: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    snippets: dict[str, str] = {}
    redirects: dict[str, str] = {}
    memory: int = 0

    @property
    def services(self) -> tuple[str, ...]:
        """The services that requests go to by a route, in order of name."""
        named = {r.service for r in self.routes} | {r.auth.service for r in self.routes if r.auth}
        return tuple(sorted(named - {""}))

    @property
    def called(self) -> frozenset[str]:
        """The services that a route says to speak gRPC."""
        return frozenset(r.service for r in self.routes if r.grpc)


class Maintenance(Value, frozen=True):
    """That an app is closed for a while: who still passes (CIDR), and when others shall ask again (seconds)."""

    allow: tuple[str, ...] = ()
    retry_after: int = 300


class Service(Value, frozen=True):
    """One service of the manifest, with Compose's defaults resolved and pushrod's role derived.

    `command` is the argv as the manifest gives it (empty: the image's own). `port` is the container port that
    is published or exposed (0: none). `environment` maps names to values; None means the variable is taken
    from the app's secrets if it is there. `memory` is the most it may use, in bytes (0: not said). `read_only` asks
    for a root file system that cannot be written. `java` says that its image is one for Java programs. A job has no
    instances: it runs once for each release, before any new instance, and must end with status 0. With `stop_first`
    the old release's instances end before the new one's start, because only one of them may have its data open.
    `keeps` says of a store that it is of no known kind, and kept because Compose would leave its container alone.
    `post_start` and `pre_stop` are run in each of its containers, on Docker.
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


class Schedule(Value, frozen=True):
    """How often an app's stores are backed up, and how many backups stay."""

    every: Literal["hour", "day", "week", "never"] = "day"
    keep: int = 14


class Encryption(Value, frozen=True):
    """Where an app's certificate comes from, and what goes with it.

    `acme`: a public authority, asked by the ACME protocol, which may write to `email`. `local`: the authority of this
    machine. `files`: the files that `pushrod cert set` was given. `hsts` is for how many seconds a browser is told to
    use nothing but TLS; half a year is the least that counts as long with those who rate it.
    """

    source: Literal["acme", "local", "files", "off"] = "off"
    email: str = ""
    hsts: int = 15768000


class Manifest(Value, frozen=True):
    """A compose file as pushrod reads it. `notes` are things to say once: what is not used here, and why.

    `keep` is how many releases stay on the host to roll back to. `domains` are the names the app answers to.
    `ours` says that the file has `x-pushrod` keys: it was written for pushrod, and an address of a store in it
    means the store, as its own role; in any other file every address stays as it is written. `snippets` are the
    patterns of the files that become those of `routing`. `because` says which service is the entry, and why.
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

    def service(self, name: str) -> Service:
        """The service of that name; KeyError when there is none."""
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
    """What building a service gave: an identity that says when it can be reused, and how to run it.

    On the embedded engine `location` is a Python environment and `command` the argv that was found for the
    service (manifest, Dockerfile or Procfile); `environment` is what the Dockerfile sets, and `directory` the
    one of the checkout that it runs in. On Docker `id` is the image's and `location` the name pushrod gave it.
    """

    id: str
    location: str = ""
    command: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    directory: str = "."


class Instance(Value, frozen=True):
    """One copy of a stateless service in a release, at `address` and `port` (0: it listens nowhere)."""

    name: str
    service: str
    port: int = 0
    address: str = "127.0.0.1"


class Placement(Value, frozen=True):
    """Where a release's instances are. `network` is the block of addresses that its networks share (CIDR); empty
    where instances are told apart by their ports alone."""

    instances: tuple[Instance, ...]
    network: str = ""


class Release(Value, frozen=True):
    """A sealed release: commit, images and resolved configuration. It never changes once written.

    The values of the environment are not here, because this is kept in Git: `environment_names` says which
    variables each service has. `inputs` is a keyed digest of what besides the commit went into the release (the
    app's secrets and replica counts): the same commit with the same inputs is the same release. `keep` is how
    many releases the manifest wants kept; `notes` are what was said about it. `domains` are the names the app
    answers to, and `network` the block of addresses its instances are in (`Placement`). `passwords` are the edge's
    files of those who may pass its routes, by the name of the secret they were made of.
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

    def service(self, name: str) -> Service:
        """The stateless service of that name; KeyError when there is none."""
        return {s.name: s for s in self.services}[name]

    @property
    def serving(self) -> frozenset[str]:
        """The services that the edge sends requests to."""
        return frozenset((self.entry, *self.routing.services))

    def instances_of(self, service: str) -> tuple[Instance, ...]:
        """The instances of a service, to which the edge sends its requests."""
        return tuple(i for i in self.instances if i.service == service)


class Line(Value, frozen=True):
    """One line that a process has printed; `process` is the instance's or the store's name."""

    process: str
    text: str


class Program(Value, frozen=True):
    """A program to run on the user's terminal: its whole argv, directory and environment."""

    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]


class Diagnostic(Value, frozen=True):
    """One thing that `pushrod doctor` looked at. `mend` says what to do where `state` is not `ok`."""

    what: str
    state: Literal["ok", "warning", "broken"]
    detail: str
    mend: str = ""


class Process(Value, frozen=True):
    """One supervised process of the embedded engine, all of it: what the launcher reads and runs.

    `group` and `name` are its place in the supervisor (`shop-r7`, `backend-1`). `wait_for` lists local TCP
    ports that must accept before it starts. `death_signal` is what it gets if the supervisor dies.
    `stop_group` sends the stop signal to its whole process group. Lower `priority` starts first, stops last.
    """

    group: str
    name: str
    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str]
    log: str
    priority: int
    stop_signal: str = "TERM"
    stop_grace: float = 10.0
    stop_group: bool = False
    death_signal: str = "TERM"
    wait_for: tuple[int, ...] = ()


class ProcessState(Value, frozen=True):
    """What the engine says of a process now. `since` is seconds since it entered the state."""

    group: str
    name: str
    state: Literal["starting", "running", "backoff", "failed", "stopping", "stopped"]
    pid: int = 0
    since: float = 0.0
    detail: str = ""

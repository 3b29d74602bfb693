"""An app's roles, its database and their rights.

`<app>_owner` owns the database and everything migrations create; `<app>_migrator` logs in for the release command and
acts as the owner; `<app>_app` logs in for the instances and may read and write rows, but change no schema;
`<app>_readonly` logs in for people and tools that look, and may read rows. While passwords rotate, instances of two
releases log in, each with its own: then `<app>_app2` logs in too, and acts as `<app>_app`; the next time it is the
other way round. `<app>_monitor` exists where an exporter of Prometheus reads the server's figures: it is in
pg_monitor, and connects to the database `postgres` alone, never to the app's.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pushrod.adapters.postgres import scram
from pushrod.adapters.postgres.server import Database, Row
from pushrod.core.errors import StoreError
from pushrod.core.patterns import lazy

LOCK_TIMEOUT = 10
"""Seconds that a statement of the release command waits for a lock; meanwhile everybody else waits behind it. The
command is run again, with a pause in which the others go on (`releases.one_shots`)."""

_FORMER_LOCK_TIMEOUT = "60s"  # what pushrod set before it ran the command again

_GONE_AFTER = 10  # seconds within which PostgreSQL 14 and later notices that a statement's client is gone

_NAME = lazy(r"[a-z][a-z0-9_-]{0,62}")  # PostgreSQL truncates identifiers after 63 bytes


_PLAIN = lazy(r"[0-9a-zA-Z]{1,128}")  # as pushrod generates them

LOGINS = ("migrator", "readonly")
"""The roles that always log in, each with a password; besides them one of INSTANCES, or both."""

INSTANCES = ("app", "app2")
"""The roles by which instances log in."""


class Roles(NamedTuple):
    """The names of an app's roles."""

    owner: str
    migrator: str
    app: str
    readonly: str
    app2: str

    @classmethod
    def of(cls, app: str) -> "Roles":
        """The roles of the app of that name."""
        return cls(f"{app}_owner", f"{app}_migrator", f"{app}_app", f"{app}_readonly", f"{app}_app2")


def ensure(
    server: Database,
    app: str,
    database: str,
    passwords: Mapping[str, str],
    *,
    ddl: bool,
    login: tuple[str, str] | None = None,
    question: str = "",
) -> list[Row]:
    """Ensure an app's roles, its database and its rights; writes nothing if they are correct.

    `passwords` has those of LOGINS and of the INSTANCES that may log in; the other one can no longer. With `ddl` the
    app's own role acts as the owner too, for an app that changes its schema itself. A right that a migration revokes
    from a role (`revoke delete on audit from shop_app`) stays revoked. `login` is a role of the manifest's own
    (POSTGRES_USER) and its password: it acts as the database's owner, and its sessions create what the owner then
    owns, so that the app's other roles reach it. `question` is a script of queries of several columns: its rows are
    returned, of the moment before, because another query would cost a client's start. Raises StoreError if PostgreSQL
    refuses something.
    """
    names = Roles.of(app)
    own = login[0] if login else ""
    script = ensure_sql(app, database, ddl=ddl, second="app2" in passwords, login=own)
    rows = server.query(f"{question}{_END_OF_ANSWER}{script}")
    end = rows.index(("",))
    verifiers = {row[0]: row[1] for row in rows[end + 1 :]}
    login_passwords = {getattr(names, whose): password for whose, password in passwords.items()}
    logins = login_passwords | ({own: login[1]} if login else {})
    changed = {n: p for n, p in logins.items() if not scram.matches(verifiers[n], p)}
    if changed:
        server.query(
            "".join(f"alter role \"{n}\" password '{scram.verifier(p)}';\n" for n, p in changed.items())
        )

    gone = [name for name in (names.app, names.app2) if name not in login_passwords and verifiers.get(name)]
    for name in gone:
        server.query(f"\\set name '{name}'\n{_CLOSE}")
    return rows[:end]


def monitor(app: str) -> str:
    """The role of the exporter."""
    return f"{app}_monitor"


def ensure_monitor(server: Database, app: str, password: str) -> None:
    """Ensure the role of the exporter, for a running server; writes nothing if it is correct."""
    name = _monitor_of(app)
    ((_, known),) = server.query(f"\\set name '{name}'\n{_MONITOR}")
    if not scram.matches(known, password):
        server.query(f"alter role \"{name}\" password '{scram.verifier(password)}';\n")


def remove_monitor(server: Database, app: str) -> None:
    """Remove that role, and end its sessions."""
    server.query(f"\\set name '{_monitor_of(app)}'\n{_NO_MONITOR}")


def _monitor_of(app: str) -> str:
    name = monitor(app)
    if not _NAME.fullmatch(name):
        raise StoreError(f"`{name}` cannot name a role", hint="letters, digits, - and _")
    return name


def initial_sql(app: str, database: str, passwords: Mapping[str, str], *, ddl: bool) -> str:
    """A psql script that does for a new cluster what `ensure` does for a running server."""
    names = Roles.of(app)
    script = ensure_sql(app, database, ddl=ddl, second="app2" in passwords).removesuffix(_VERIFIERS)
    named = {getattr(names, whose): password for whose, password in passwords.items()}
    if wrong := [name for name, password in named.items() if not _PLAIN.fullmatch(password)]:
        raise StoreError(f"the password of `{wrong[0]}` cannot be written into a script", hint="deploy once")
    return script + "".join(f"alter role \"{n}\" password '{p}';\n" for n, p in named.items())


def ensure_sql(app: str, database: str, *, ddl: bool, second: bool = False, login: str = "") -> str:
    """The psql script of `ensure`, which returns the password verifiers of the roles that log in."""
    for name in (app, database):
        if not _NAME.fullmatch(name):
            raise StoreError(f"`{name}` cannot name a database or its roles", hint="letters, digits, - and _")
    if login and not _NAME.fullmatch(login):
        raise StoreError(f"`{login}` cannot name a role", hint="letters, digits, - and _")
    names = Roles.of(app)._asdict() | {"database": database, "ddl": "true" if ddl else "false"}
    names |= {
        "lock_timeout": f"{LOCK_TIMEOUT}s",
        "former": _FORMER_LOCK_TIMEOUT,
        "gone_after": f"{_GONE_AFTER}s",
        "login": login,
    }
    setting = "".join(f"\\set {k} '{v}'\n" for k, v in names.items())
    grants = _grants("app", "usage, select", "select, insert, update, delete") + _grants(
        "readonly", "select", "select"
    )
    further = (_SECOND if second else "") + (_LOGIN if login else "")
    return setting + _ROLES + _DATABASE + _RIGHTS + grants + _COMMIT + further + _VERIFIERS


def _grants(role: str, sequences: str, tables: str) -> str:
    return _GRANTS.replace("@role@", role).replace("@sequences@", sequences).replace("@tables@", tables)


# psql's own words: :'x' is a literal, :"x" an identifier, \gexec runs each row of the result as a statement.
_ROLES = r"""
begin;
select format('create role %I %s', name, kind)
  from (values (:'owner', 'nologin'), (:'migrator', 'login'), (:'app', 'login'), (:'readonly', 'login'))
       as required (name, kind)
 where not exists (select from pg_roles where rolname = name)
\gexec
select format('alter role %I nosuperuser nocreatedb nocreaterole noreplication nobypassrls', rolname)
  from pg_roles
 where rolname in (:'owner', :'migrator', :'app', :'readonly')
   and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)
\gexec
select format(case when acts then 'grant %I to %I' else 'revoke %I from %I' end, :'owner', name)
  from (values (:'migrator', true), (:'app', :ddl), (:'readonly', false)) as required (name, acts)
 where pg_has_role(name, :'owner', 'member') <> acts
\gexec
commit;
"""

# create database cannot be part of a transaction, but is atomic.
_DATABASE = r"""
select format('create database %I owner %I template template0', :'database', :'owner')
 where not exists (select from pg_database where datname = :'database')
\gexec
\connect :"database"
"""

_RIGHTS = r"""
begin;
select format('alter database %I owner to %I', datname, :'owner')
  from pg_database
 where datname = current_database() and pg_get_userbyid(datdba) <> :'owner'
\gexec
select format('revoke all on database %I from public', datname)
  from pg_database
 where datname in (current_database(), 'postgres', 'template1')
   and has_database_privilege('public', oid, 'connect, temporary')
\gexec
select format('grant connect, temporary on database %I to %I', current_database(), :'app')
 where not has_database_privilege(:'app', current_database(), 'connect')
    or not has_database_privilege(:'app', current_database(), 'temporary')
\gexec
select format('grant connect on database %I to %I', current_database(), :'readonly')
 where not has_database_privilege(:'readonly', current_database(), 'connect')
\gexec

-- Sessions that may change the schema act as the owner, so that the owner owns everything they create.
select case when required.acts
            then format('alter role %I in database %I set role = %L', name, current_database(), :'owner')
            else format('alter role %I in database %I reset role', name, current_database()) end
  from (values (:'migrator', true), (:'app', :ddl)) as required (name, acts)
 where acts <> exists (
       select from pg_db_role_setting s
        where s.setrole = (select oid from pg_roles where rolname = name)
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and s.setconfig @> array['role=' || :'owner'])
\gexec

-- Its rights are what binds it; this also refuses functions that write as somebody else, and large objects.
select format('alter role %I in database %I set default_transaction_read_only = on', :'readonly', current_database())
 where not exists (
       select from pg_db_role_setting s
        where s.setrole = (select oid from pg_roles where rolname = :'readonly')
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and s.setconfig @> array['default_transaction_read_only=on'])
\gexec

-- While a schema change waits for a lock, every later session waits too; and PostgreSQL keeps executing the
-- statement of a client that is gone. Settings made by somebody else stay.
select format('alter role %I in database %I set lock_timeout = %L', :'migrator', current_database(), :'lock_timeout')
 where not exists (
       select from pg_db_role_setting s, unnest(s.setconfig) as setting
        where s.setrole = (select oid from pg_roles where rolname = :'migrator')
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and setting like 'lock_timeout=%' and setting <> 'lock_timeout=' || :'former')
\gexec
select format('alter database %I set client_connection_check_interval = %L', current_database(), :'gone_after')
 where current_setting('server_version_num')::int >= 140000
   and not exists (
       select from pg_db_role_setting s, unnest(s.setconfig) as setting
        where s.setrole = 0
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and setting like 'client_connection_check_interval=%')
\gexec

select 'revoke create on schema public from public'
  from pg_namespace where nspname = 'public' and has_schema_privilege('public', oid, 'create')
\gexec
select format('grant usage, create on schema public to %I', :'owner')
  from pg_namespace
 where nspname = 'public'
   and not (has_schema_privilege(:'owner', oid, 'usage') and has_schema_privilege(:'owner', oid, 'create'))
\gexec
select format('grant usage on schema public to %I', name)
  from pg_namespace, (values (:'app'), (:'readonly')) as required (name)
 where nspname = 'public' and not has_schema_privilege(name, oid, 'usage')
\gexec
"""

# For a role, and what it may do with sequences and tables.
_GRANTS = r"""
-- Once: for everything that the owner creates from now on, and for what exists. PUBLIC may call functions anyway.
select not exists (
       select from pg_default_acl d, aclexplode(d.defaclacl) a
        where d.defaclrole = (select oid from pg_roles where rolname = :'owner')
          and d.defaclnamespace = 0 and d.defaclobjtype = 'r'
          and a.grantee = (select oid from pg_roles where rolname = :'@role@')) as is_new
\gset
\if :is_new
alter default privileges for role :"owner" grant usage on schemas to :"@role@";
alter default privileges for role :"owner" grant @sequences@ on sequences to :"@role@";
alter default privileges for role :"owner" grant @tables@ on tables to :"@role@";
select format('grant usage on schema %I to %I', nspname, :'@role@')
  from pg_namespace
 where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
\gexec
select format(case relkind when 'S' then 'grant @sequences@ on sequence %s to %I'
                           else 'grant @tables@ on table %s to %I' end,
              c.oid::regclass, :'@role@')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
   and nspname !~ '^pg_' and nspname <> 'information_schema'
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
\gexec
\endif
"""
_COMMIT = "commit;\n\n"

# It has the rights of the first, and acts as it: what it creates belongs to the first.
_SECOND = r"""
begin;
select format('create role %I login', :'app2') where not exists (select from pg_roles where rolname = :'app2')
\gexec
select format('grant %I to %I', :'app', :'app2') where not pg_has_role(:'app2', :'app', 'member')
\gexec
select format('alter role %I in database %I set role = %L', :'app2', current_database(), acts)
  from (values (case when :ddl then :'owner' else :'app' end)) as required (acts)
 where not exists (
       select from pg_db_role_setting s
        where s.setrole = (select oid from pg_roles where rolname = :'app2')
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and s.setconfig @> array['role=' || acts])
\gexec
commit;
"""

_END_OF_ANSWER = "select '';\n"  # a row of one empty column, which no other is

_VERIFIERS = """
select rolname, coalesce(rolpassword, '') from pg_authid
 where rolname in (:'migrator', :'app', :'readonly', :'app2', :'login');
"""

# Its sessions are of programs that should have ended.
_CLOSE = """
alter role :"name" password null;
select from (select pg_terminate_backend(pid) from pg_stat_activity where usename = :'name') as ended;
"""

_LOGIN = r"""
begin;
select format('create role %I login', :'login')
 where not exists (select from pg_roles where rolname = :'login')
\gexec
select format('grant %I to %I', :'owner', :'login')
 where not pg_has_role(:'login', :'owner', 'member')
\gexec
select format('alter role %I in database %I set role = %L', :'login', :'database', :'owner')
 where not exists (
       select from pg_db_role_setting s
        where s.setrole = (select oid from pg_roles where rolname = :'login')
          and s.setdatabase = (select oid from pg_database where datname = :'database')
          and s.setconfig @> array['role=' || :'owner'])
\gexec
commit;
"""

# A scrape is short: three sessions are enough, and the app's own are not used up.
_MONITOR = r"""
begin;
select format('create role %I login connection limit 3', :'name')
 where not exists (select from pg_roles where rolname = :'name')
\gexec
select format('alter role %I nosuperuser nocreatedb nocreaterole noreplication nobypassrls', rolname)
  from pg_roles
 where rolname = :'name' and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)
\gexec
select format('grant pg_monitor to %I', :'name') where not pg_has_role(:'name', 'pg_monitor', 'member')
\gexec
select format('grant connect on database postgres to %I', :'name')
 where not has_database_privilege(:'name', 'postgres', 'connect')
\gexec
commit;
select rolname, coalesce(rolpassword, '') from pg_authid where rolname = :'name';
"""

_NO_MONITOR = r"""
select from (select pg_terminate_backend(pid) from pg_stat_activity where usename = :'name') as ended;
begin;
select format('revoke all on database postgres from %I', rolname) from pg_roles where rolname = :'name'
\gexec
select format('drop role %I', rolname) from pg_roles where rolname = :'name'
\gexec
commit;
"""

"""An app's roles, its database and their rights.

`<app>_owner` owns the database and everything migrations create; `<app>_migrator` logs in for the release command and
acts as the owner; `<app>_app` logs in for the instances and may read and write rows, but change no schema.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from pushrod.adapters.postgres import scram
from pushrod.adapters.postgres.server import Database
from pushrod.core.errors import StoreError

LOCK_TIMEOUT = 60
"""Seconds that a statement of the release command waits for a lock; meanwhile everybody else waits behind it."""

_GONE_AFTER = 10  # seconds within which PostgreSQL 14 and later notices that a statement's client is gone

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")  # PostgreSQL truncates identifiers after 63 bytes


class Roles(NamedTuple):
    """The names of an app's three roles."""

    owner: str
    migrator: str
    app: str

    @classmethod
    def of(cls, app: str) -> "Roles":
        """The roles of the app of that name."""
        return cls(f"{app}_owner", f"{app}_migrator", f"{app}_app")


def ensure(server: Database, app: str, database: str, passwords: Mapping[str, str], *, ddl: bool) -> None:
    """Ensure an app's roles, its database and its rights; writes nothing if they are correct.

    `passwords` has `migrator` and `app`. With `ddl` the app's own role acts as the owner too, for an app that changes
    its schema itself. A right that a migration revokes from the app's role (`revoke delete on audit from shop_app`)
    stays revoked. Raises StoreError if PostgreSQL refuses something.
    """
    names = Roles.of(app)
    verifiers = {row[0]: row[1] for row in server.query(ensure_sql(app, database, ddl=ddl))}
    login_passwords = {names.migrator: passwords["migrator"], names.app: passwords["app"]}
    changed = {n: p for n, p in login_passwords.items() if not scram.matches(verifiers[n], p)}
    if changed:
        server.query(
            "".join(f"alter role \"{n}\" password '{scram.verifier(p)}';\n" for n, p in changed.items())
        )


def ensure_sql(app: str, database: str, *, ddl: bool) -> str:
    """The psql script of `ensure`, which returns the password verifiers of the two roles that log in."""
    for name in (app, database):
        if not _NAME.fullmatch(name):
            raise StoreError(f"`{name}` cannot name a database or its roles", hint="letters, digits, - and _")
    names = Roles.of(app)._asdict() | {"database": database, "ddl": "true" if ddl else "false"}
    names |= {"lock_timeout": f"{LOCK_TIMEOUT}s", "gone_after": f"{_GONE_AFTER}s"}
    return "".join(f"\\set {k} '{v}'\n" for k, v in names.items()) + _ROLES + _DATABASE + _RIGHTS


# psql's own words: :'x' is a literal, :"x" an identifier, \gexec runs each row of the result as a statement.
_ROLES = r"""
begin;
select format('create role %I %s', name, kind)
  from (values (:'owner', 'nologin'), (:'migrator', 'login'), (:'app', 'login')) as wanted (name, kind)
 where not exists (select from pg_roles where rolname = name)
\gexec
select format('alter role %I nosuperuser nocreatedb nocreaterole noreplication nobypassrls', rolname)
  from pg_roles
 where rolname in (:'owner', :'migrator', :'app')
   and (rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls)
\gexec
select format(case when acts then 'grant %I to %I' else 'revoke %I from %I' end, :'owner', name)
  from (values (:'migrator', true), (:'app', :ddl)) as wanted (name, acts)
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

-- Sessions that may change the schema act as the owner, so that the owner owns everything they create.
select case when wanted.acts
            then format('alter role %I in database %I set role = %L', name, current_database(), :'owner')
            else format('alter role %I in database %I reset role', name, current_database()) end
  from (values (:'migrator', true), (:'app', :ddl)) as wanted (name, acts)
 where acts <> exists (
       select from pg_db_role_setting s
        where s.setrole = (select oid from pg_roles where rolname = name)
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and s.setconfig @> array['role=' || :'owner'])
\gexec

-- While a schema change waits for a lock, every later session waits too; and PostgreSQL keeps executing the
-- statement of a client that is gone. Settings made by somebody else stay.
select format('alter role %I in database %I set lock_timeout = %L', :'migrator', current_database(), :'lock_timeout')
 where not exists (
       select from pg_db_role_setting s, unnest(s.setconfig) as setting
        where s.setrole = (select oid from pg_roles where rolname = :'migrator')
          and s.setdatabase = (select oid from pg_database where datname = current_database())
          and setting like 'lock_timeout=%')
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
select format('grant usage on schema public to %I', :'app')
  from pg_namespace where nspname = 'public' and not has_schema_privilege(:'app', oid, 'usage')
\gexec

-- Once: for everything that the owner creates from now on, and for what exists. PUBLIC may call functions anyway.
select not exists (
       select from pg_default_acl d, aclexplode(d.defaclacl) a
        where d.defaclrole = (select oid from pg_roles where rolname = :'owner')
          and d.defaclnamespace = 0 and d.defaclobjtype = 'r'
          and a.grantee = (select oid from pg_roles where rolname = :'app')) as is_new
\gset
\if :is_new
alter default privileges for role :"owner" grant usage on schemas to :"app";
alter default privileges for role :"owner" grant usage, select on sequences to :"app";
alter default privileges for role :"owner" grant select, insert, update, delete on tables to :"app";
select format('grant usage on schema %I to %I', nspname, :'app')
  from pg_namespace
 where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
\gexec
select format(case relkind when 'S' then 'grant usage, select on sequence %s to %I'
                           else 'grant select, insert, update, delete on table %s to %I' end,
              c.oid::regclass, :'app')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
   and nspname !~ '^pg_' and nspname <> 'information_schema'
   and not exists (select from pg_depend d
                    where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
\gexec
\endif
commit;

select rolname, rolpassword from pg_authid where rolname in (:'migrator', :'app');
"""

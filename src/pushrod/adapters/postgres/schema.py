"""What a database's schema is, as a digest."""

from pushrod.adapters.postgres.server import Database


def schema_digest(server: Database, database: str, first: str = "") -> str:
    """A digest of a database's schema, without its rows: it changes when a migration changed something.

    Includes tables, columns, constraints, indexes, sequences (not their positions), views, routines, triggers,
    policies, types and extensions; not rights, owners and comments. Compare only digests made by the same pushrod and
    the same PostgreSQL. `first` is a script that runs before, in the same session.
    """
    return server.query(first + _DIGEST, database)[-1][0]


_DIGEST = r"""
with space as (
  select oid, nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
), member as (
  select classid, objid from pg_depend where deptype = 'e'
), relation as (
  select c.* from pg_class c join space on space.oid = c.relnamespace
   where not exists (select from member m where m.classid = 'pg_class'::regclass and m.objid = c.oid)
), routine as (
  select p.* from pg_proc p join space on space.oid = p.pronamespace
   where not exists (select from member m where m.classid = 'pg_proc'::regclass and m.objid = p.oid)
), kind as (
  select t.* from pg_type t join space on space.oid = t.typnamespace
   where not exists (select from member m where m.classid = 'pg_type'::regclass and m.objid = t.oid)
), line (what) as (
  select jsonb_build_array('schema', nspname) from space
  union all
  select jsonb_build_array('extension', extname, extversion) from pg_extension
  union all
  select jsonb_build_array('relation', c.oid::regclass, relkind, relpersistence, relrowsecurity,
         relforcerowsecurity, pg_get_expr(relpartbound, c.oid), pg_get_partkeydef(c.oid),
         array(select inhparent::regclass::text from pg_inherits where inhrelid = c.oid order by inhseqno),
         case when relkind in ('v', 'm') then pg_get_viewdef(c.oid) end)
    from relation c where relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  union all
  select jsonb_build_array('column', c.oid::regclass, attname,
         row_number() over (partition by attrelid order by attnum), format_type(atttypid, atttypmod),
         attnotnull, attidentity, attgenerated, attcollation::regcollation,
         pg_get_expr(d.adbin, d.adrelid))
    from relation c
    join pg_attribute a on a.attrelid = c.oid and attnum > 0 and not attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
   where relkind in ('r', 'p', 'v', 'm', 'f', 'c')
  union all
  select jsonb_build_array('constraint', conrelid::regclass, contypid::regtype, conname,
         pg_get_constraintdef(o.oid), convalidated)
    from pg_constraint o
   where conrelid in (select oid from relation) or contypid in (select oid from kind)
  union all
  select jsonb_build_array('index', pg_get_indexdef(indexrelid), indisvalid)
    from pg_index where indrelid in (select oid from relation)
  union all
  select jsonb_build_array('sequence', seqrelid::regclass, seqtypid::regtype, seqstart, seqincrement, seqmax,
         seqmin, seqcache, seqcycle)
    from pg_sequence where seqrelid in (select oid from relation)
  union all
  select jsonb_build_array('routine', p.oid::regprocedure, prokind,
         case when prokind <> 'a' then pg_get_functiondef(p.oid) else to_jsonb(g)::text end)
    from routine p
    left join (select aggfnoid, aggtransfn::regprocedure::text, aggfinalfn::text, aggtranstype::regtype::text,
                      agginitval from pg_aggregate) g on g.aggfnoid = p.oid
  union all
  select jsonb_build_array('trigger', pg_get_triggerdef(oid), tgenabled)
    from pg_trigger where not tgisinternal and tgrelid in (select oid from relation)
  union all
  select jsonb_build_array('rule', pg_get_ruledef(oid), ev_enabled)
    from pg_rewrite where rulename <> '_RETURN' and ev_class in (select oid from relation)
  union all
  select jsonb_build_array('policy', polrelid::regclass, polname, polcmd, polpermissive,
         array(select pg_get_userbyid(r) from unnest(polroles) r order by 1),
         pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    from pg_policy where polrelid in (select oid from relation)
  union all
  select jsonb_build_array('type', t.oid::regtype, typtype, format_type(typbasetype, typtypmod), typnotnull,
         typdefault, (select rngsubtype::regtype from pg_range where rngtypid = t.oid),
         array(select enumlabel from pg_enum where enumtypid = t.oid order by enumsortorder))
    from kind t where typtype in ('d', 'e', 'r')
)
select encode(sha256(convert_to(coalesce(string_agg(what::text, E'\n' order by what::text collate "C"), ''),
              'UTF8')), 'hex')
  from line;
"""

-- Redshift's functions, types and system views for PostgreSQL 14 or later; run at every start by the superuser.
-- They live in pg_catalog, as in Redshift, so that no search_path hides them.
set allow_system_table_mods = on;
set client_min_messages = warning;

-- Types

do $$ begin
  if to_regtype('pg_catalog.super') is null then create domain pg_catalog.super as jsonb; end if;
  if to_regtype('pg_catalog.varbyte') is null then create domain pg_catalog.varbyte as bytea; end if;
end $$;

-- Date and time: https://docs.aws.amazon.com/redshift/latest/dg/r_Dateparts_for_datetime_functions.html

create or replace function pg_catalog.redshift_sysdate() returns timestamp language sql stable as
  $$ select (now() at time zone 'utc')::timestamp $$;
create or replace function pg_catalog.getdate() returns timestamp language sql stable as
  $$ select date_trunc('second', statement_timestamp() at time zone 'utc') $$;

create or replace function pg_catalog.redshift_date_part(part text) returns text language sql immutable as $$
  select case
    when lower(part) in ('millennium', 'millennia', 'mil', 'mils') then 'millennium'
    when lower(part) in ('century', 'centuries', 'c', 'cent', 'cents') then 'century'
    when lower(part) in ('decade', 'decades', 'dec', 'decs') then 'decade'
    when lower(part) in ('year', 'years', 'y', 'yr', 'yrs', 'yyyy', 'yy') then 'year'
    when lower(part) in ('quarter', 'quarters', 'qtr', 'qtrs') then 'quarter'
    when lower(part) in ('month', 'months', 'mon', 'mons') then 'month'
    when lower(part) in ('week', 'weeks', 'w') then 'week'
    when lower(part) in ('day', 'days', 'd') then 'day'
    when lower(part) in ('hour', 'hours', 'h', 'hr', 'hrs') then 'hour'
    when lower(part) in ('minute', 'minutes', 'm', 'min', 'mins') then 'minute'
    when lower(part) in ('second', 'seconds', 's', 'sec', 'secs') then 'second'
    when lower(part) in ('millisecond', 'milliseconds', 'ms', 'msec', 'msecs', 'msecond', 'mseconds', 'millisec', 'millisecs', 'millisecon')
      then 'milliseconds'
    when lower(part) in ('microsecond', 'microseconds', 'us', 'usec', 'usecs', 'usecond', 'useconds', 'microsec', 'microsecs', 'microsecond')
      then 'microseconds'
    else part
  end
$$;

create or replace function pg_catalog.redshift_dateadd(part text, amount double precision, moment timestamp)
returns timestamp language plpgsql immutable as $$
declare
  unit text := redshift_date_part(part);
  whole bigint := trunc(amount)::bigint;
begin
  if unit = 'quarter' then
    return moment + make_interval(months => (3 * whole)::int);
  end if;
  return moment + (whole || ' ' || unit)::interval;
end $$;
create or replace function pg_catalog.redshift_dateadd(part text, amount double precision, moment date)
returns timestamp language sql immutable as $$ select redshift_dateadd(part, amount, moment::timestamp) $$;
create or replace function pg_catalog.redshift_dateadd(part text, amount double precision, moment timestamptz)
returns timestamptz language sql stable as
  $$ select redshift_dateadd(part, amount, moment at time zone 'utc') at time zone 'utc' $$;
create or replace function pg_catalog.redshift_dateadd(part text, amount double precision, moment text)
returns timestamp language sql immutable as $$ select redshift_dateadd(part, amount, moment::timestamp) $$;

-- Redshift counts the boundaries that lie between the two, not the time that passed.
create or replace function pg_catalog.redshift_datediff(part text, beginning timestamp, ending timestamp)
returns bigint language plpgsql immutable as $$
declare
  unit text := redshift_date_part(part);
  months bigint := (extract(year from ending) - extract(year from beginning)) * 12
    + extract(month from ending) - extract(month from beginning);
begin
  return case unit
    when 'millennium' then ceil(extract(year from ending) / 1000) - ceil(extract(year from beginning) / 1000)
    when 'century' then ceil(extract(year from ending) / 100) - ceil(extract(year from beginning) / 100)
    when 'decade' then floor(extract(year from ending) / 10) - floor(extract(year from beginning) / 10)
    when 'year' then extract(year from ending) - extract(year from beginning)
    when 'quarter' then
      (extract(year from ending) - extract(year from beginning)) * 4
      + extract(quarter from ending) - extract(quarter from beginning)
    when 'month' then months
    when 'week' then (date_trunc('week', ending)::date - date_trunc('week', beginning)::date) / 7
    when 'day' then ending::date - beginning::date
    else
      extract(epoch from date_trunc(unit, ending) - date_trunc(unit, beginning)) / extract(epoch from ('1 ' || unit)::interval)
  end;
end $$;
create or replace function pg_catalog.redshift_datediff(part text, beginning date, ending date)
returns bigint language sql immutable as $$ select redshift_datediff(part, beginning::timestamp, ending::timestamp) $$;
create or replace function pg_catalog.redshift_datediff(part text, beginning timestamptz, ending timestamptz)
returns bigint language sql immutable as
  $$ select redshift_datediff(part, beginning at time zone 'utc', ending at time zone 'utc') $$;
create or replace function pg_catalog.redshift_datediff(part text, beginning text, ending text)
returns bigint language sql immutable as $$ select redshift_datediff(part, beginning::timestamp, ending::timestamp) $$;

create or replace function pg_catalog.convert_timezone(source text, target text, moment timestamp)
returns timestamp language sql immutable as $$ select (moment at time zone source) at time zone target $$;
create or replace function pg_catalog.convert_timezone(target text, moment timestamp)
returns timestamp language sql immutable as $$ select (moment at time zone 'utc') at time zone target $$;
create or replace function pg_catalog.add_months(moment timestamp, months bigint) returns timestamp language sql immutable as $$
  select case
    -- The last day of a month stays the last day of a month.
    when moment::date = (date_trunc('month', moment) + interval '1 month - 1 day')::date
      then (date_trunc('month', moment) + make_interval(months => months::int + 1) - interval '1 day')::date + moment::time
    else moment + make_interval(months => months::int)
  end
$$;
create or replace function pg_catalog.last_day(moment timestamp) returns date language sql immutable as
  $$ select (date_trunc('month', moment) + interval '1 month - 1 day')::date $$;
create or replace function pg_catalog.next_day(moment timestamp, day text) returns date language sql immutable as $$
  select moment::date
    + (1 + (position(lower(left(day, 2)) in 'sumotuwethfrsa') / 2 - extract(dow from moment)::int + 6) % 7)
$$;
create or replace function pg_catalog.months_between(later timestamp, earlier timestamp)
returns double precision language sql immutable as $$
  select (extract(year from later) - extract(year from earlier)) * 12 + extract(month from later) - extract(month from earlier)
    + case
        when extract(day from later) = extract(day from earlier) then 0
        when later::date = last_day(later) and earlier::date = last_day(earlier) then 0
        else (extract(day from later) - extract(day from earlier)) / 31.0
      end
$$;
create or replace function pg_catalog.trunc(moment timestamp) returns date language sql immutable as $$ select moment::date $$;
create or replace function pg_catalog.date_cmp(a date, b date) returns int language sql immutable as $$ select sign(a - b)::int $$;

-- PostgreSQL makes a date a timestamp with time zone here.
create or replace function pg_catalog.date_trunc(part text, day date) returns timestamp language sql immutable as
  $$ select date_trunc(part, day::timestamp) $$;

-- Text

create or replace function pg_catalog.len(text) returns int language sql immutable as $$ select length($1) $$;
create or replace function pg_catalog.charindex(part text, whole text) returns int language sql immutable as
  $$ select strpos(whole, part) $$;
create or replace function pg_catalog.strtol(digits text, base int) returns bigint language sql immutable as $$
  select sum((position(digit in '0123456789abcdefghijklmnopqrstuvwxyz') - 1) * (base::numeric ^ (length(digits) - place)))::bigint
  from regexp_split_to_table(lower(digits), '') with ordinality as t (digit, place)
$$;
create or replace function pg_catalog.sha2(value text, bits int) returns text language sql immutable as $$
  select encode(case bits
    when 224 then sha224(convert_to(value, 'UTF8'))
    when 384 then sha384(convert_to(value, 'UTF8'))
    when 512 then sha512(convert_to(value, 'UTF8'))
    else sha256(convert_to(value, 'UTF8'))
  end, 'hex')
$$;

-- JSON in text, and SUPER

create or replace function pg_catalog.is_valid_json(value text) returns boolean language plpgsql immutable as $$
begin
  perform value::jsonb;
  return jsonb_typeof(value::jsonb) = 'object';
exception when invalid_text_representation then
  return false;
end $$;
create or replace function pg_catalog.json_extract_path_text(value text, variadic path text[])
returns text language sql immutable as $$ select coalesce(nullif(value, '')::json #>> path, '') $$;
create or replace function pg_catalog.json_array_length(value text) returns int language sql immutable as
  $$ select json_array_length(value::json) $$;
create or replace function pg_catalog.json_extract_array_element_text(value text, element int)
returns text language sql immutable as $$ select value::json ->> element $$;
create or replace function pg_catalog.json_parse(value text) returns jsonb language sql immutable as $$ select value::jsonb $$;
create or replace function pg_catalog.json_serialize(value jsonb) returns text language sql immutable as $$ select value::text $$;
create or replace function pg_catalog.json_typeof(value jsonb) returns text language sql immutable as
  $$ select jsonb_typeof(value) $$;
create or replace function pg_catalog.get_array_length(value jsonb) returns int language sql immutable as
  $$ select case when jsonb_typeof(value) = 'array' then jsonb_array_length(value) end $$;
create or replace function pg_catalog.array_concat(first_part jsonb, second_part jsonb) returns jsonb language sql immutable as
  $$ select first_part || second_part $$;
create or replace function pg_catalog.split_to_array(value text, separator text default ',')
returns jsonb language sql immutable as $$ select to_jsonb(string_to_array(value, separator)) $$;

-- Aggregates

create or replace function pg_catalog.redshift_median_of(numbers double precision[])
returns double precision language sql immutable as
  $$ select percentile_cont(0.5) within group (order by number) from unnest(numbers) as t (number) $$;
create or replace function pg_catalog.redshift_first(first_seen anyelement, next_seen anyelement)
returns anyelement language sql immutable strict as $$ select first_seen $$;
do $$ begin
  if to_regproc('pg_catalog.median') is null then
    create aggregate pg_catalog.median(double precision)
      (sfunc = array_append, stype = double precision[], initcond = '{}', finalfunc = pg_catalog.redshift_median_of);
  end if;
  if to_regproc('pg_catalog.any_value') is null then
    create aggregate pg_catalog.any_value(anyelement) (sfunc = pg_catalog.redshift_first, stype = anyelement);
  end if;
end $$;

-- System views that dbt-redshift and usual packages read

create or replace function pg_catalog.pg_get_late_binding_view_cols() returns setof record language sql stable as
  $$ select ''::name, ''::name, ''::name, ''::varchar, 0::int where false $$;
create or replace view pg_catalog.svv_external_columns as
select
  null::text as schemaname, null::text as tablename, null::text as columnname, null::text as external_type,
  null::int as columnnum, null::int as part_key, null::text as is_nullable
where false;
create or replace view pg_catalog.svv_table_info as
select
  current_database()::text as "database",
  n.nspname::text as "schema",
  c.oid::int as table_id,
  c.relname::text as "table",
  'N'::text as encoded,
  case c.relkind when 'm' then 'EVEN' else 'AUTO(ALL)' end::text as diststyle,
  null::text as sortkey1,
  null::int as max_varchar,
  null::text as sortkey1_enc,
  0::int as sortkey_num,
  (pg_total_relation_size(c.oid) / 1000000.0)::numeric(19, 4) as size,
  0::numeric(10, 4) as pct_used,
  null::numeric as unsorted,
  0::numeric as stats_off,
  greatest(c.reltuples, 0)::numeric as tbl_rows,
  null::numeric as skew_sortkey1,
  null::numeric as skew_rows
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where c.relkind in ('r', 'p', 'm') and n.nspname not in ('pg_catalog', 'information_schema');
create or replace view pg_catalog.svv_mv_info as
select current_database()::text as database_name, schemaname::text as schema_name, matviewname::text as name, 'f'::text as autorefresh
from pg_matviews;
create or replace view pg_catalog.svv_tables as
select
  table_catalog::text as table_catalog, table_schema::text as table_schema, table_name::text as table_name,
  table_type::text as table_type, null::text as remarks
from information_schema.tables;
create or replace view pg_catalog.svv_columns as
select
  table_catalog::text, table_schema::text, table_name::text, column_name::text, ordinal_position::int, data_type::text,
  character_maximum_length::int, numeric_precision::int, numeric_scale::int, null::text as remarks
from information_schema.columns;
create or replace view pg_catalog.svv_redshift_columns as
select
  table_catalog::text as database_name, table_schema::text as schema_name, table_name::text, column_name::text,
  ordinal_position::int, data_type::text, null::text as remarks
from information_schema.columns;
create or replace view pg_catalog.svv_relation_privileges as
select
  table_schema::text as namespace_name, table_name::text as relation_name, lower(privilege_type)::text as privilege_type,
  grantee::text as identity_name, 'user'::text as identity_type, grantor::text as owner
from information_schema.table_privileges;
-- When a table was last written is not known here: every table was written just now.
create or replace view pg_catalog.sys_query_detail as
select null::bigint as query_id, c.oid::int as table_id, 'insert'::text as step_name, (now() at time zone 'utc')::timestamp as start_time
from pg_class as c
where c.relkind = 'r';
-- Whoever is no superuser sees its own sessions only; ended ones are not known here.
create or replace view pg_catalog.sys_session_history as
select usesysid::text::char(50) as user_id, pid as session_id, datname::text::char(50) as database_name, 'active'::char(10) as status,
  0 as session_timeout, (backend_start at time zone 'utc')::timestamp as start_time, null::timestamp as end_time
from pg_stat_activity
where backend_type = 'client backend' and (usename = current_user or (select usesuper from pg_user where usename = current_user));
grant select on
  pg_catalog.sys_session_history,
  pg_catalog.svv_external_columns, pg_catalog.svv_table_info, pg_catalog.svv_mv_info, pg_catalog.svv_tables, pg_catalog.svv_columns,
  pg_catalog.svv_redshift_columns, pg_catalog.svv_relation_privileges, pg_catalog.sys_query_detail
to public;

-- Redshift shows a materialized view as a view whose definition begins with "create materialized view".
-- The bridge sends readers of these parts of the catalog here.

create schema if not exists redshift_catalog;
grant usage on schema redshift_catalog to public;
create or replace function redshift_catalog.definition(name text, query text) returns text language sql immutable as
  $$ select 'create materialized view ' || name || ' as (' || rtrim(trim(query), ';') || ');' $$;
create or replace view redshift_catalog.pg_views as
select schemaname, viewname, viewowner, definition from pg_catalog.pg_views
union all
select schemaname, matviewname, matviewowner, redshift_catalog.definition(matviewname, definition) from pg_catalog.pg_matviews;
create or replace view redshift_catalog.views as
select table_catalog::text, table_schema::text, table_name::text, view_definition::text from information_schema.views
union all
select current_database()::text, schemaname::text, matviewname::text, redshift_catalog.definition(matviewname, definition)
from pg_catalog.pg_matviews;
create or replace view redshift_catalog.columns as
select
  table_catalog::text, table_schema::text, table_name::text, column_name::text, ordinal_position::int, column_default::text,
  is_nullable::text,
  case data_type when 'text' then 'character varying' when 'jsonb' then 'super' else data_type end::text as data_type,
  case data_type when 'text' then 65535 else character_maximum_length end::int as character_maximum_length,
  numeric_precision::int, numeric_scale::int
from information_schema.columns
union all
select
  current_database()::text, n.nspname::text, c.relname::text, a.attname::text, a.attnum::int, null,
  'YES', format_type(a.atttypid, null), null, null, null
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
inner join pg_catalog.pg_attribute as a on c.oid = a.attrelid
where c.relkind = 'm' and a.attnum > 0 and not a.attisdropped;
create or replace view redshift_catalog.pg_class as
select
  oid, relname, relnamespace, reltype, relowner, relfilenode, relpages, reltuples, relhasindex,
  case relkind when 'm' then 'v'::"char" else relkind end as relkind, relnatts, relacl
from pg_catalog.pg_class;
create or replace view redshift_catalog.pg_attribute as
select
  attrelid, attname, atttypid, attlen, attnum, atttypmod, attnotnull, atthasdef, attisdropped, attacl,
  false as attisdistkey, 0 as attsortkeyord
from pg_catalog.pg_attribute;
grant select on
  redshift_catalog.pg_views, redshift_catalog.views, redshift_catalog.columns, redshift_catalog.pg_class, redshift_catalog.pg_attribute
to public;

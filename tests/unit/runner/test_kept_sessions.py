"""After which statements a session is as it was before them."""

import pytest

from runner.kept_sessions import leaves_no_trace


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "select 1",
        "  -- a comment; with a semicolon\n/* set this; */ select 1",
        "(select 1) union all (select 2);",
        "select '-- no comment', 'it''s' -- it's one; set\n from t",
        'create table "a"."b"."c" as (select 1);',
        "create or replace view v as select 1",
        "insert into t (id) values (1)",
        "with x as (select 1) select * from x",
        "update t set id = 2",
        "begin; delete from t; commit;",
        'drop table if exists "t" cascade',
        "comment on table t is 'all of it'",
        "copy t from 's3://bucket/file' iam_role default",
    ],
)
def test_what_dbt_and_most_hooks_send_leaves_no_trace(sql: str) -> None:
    """Most sessions are kept: of models, seeds, snapshots and tests without special hooks."""
    assert leaves_no_trace(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "set statement_timeout to 1000",
        "reset all",
        "/* a comment */ SET search_path TO other",
        "select 1; set query_group to 'dbt'",
        "select set_config('search_path', 'other', false)",
        "create temporary table t as select 1",
        "create local temp table t (id int)",
        "create table #t (id int)",
        "select * into temp t from u",
        "call do_something()",
        "prepare p as select 1",
        "declare c cursor for select 1",
        "use other",
        "do $$ begin perform 1; end $$",
        "lock table t",
        "select pg_advisory_lock(1)",
        "select pg_try_advisory_lock(1)",
        "select setseed(0.5)",
        "create table pg_temp.t as select 1",
        "select '--'; set x to 1",
        "select '/*'; set x to '*/'",
        'select 1 as "--"; set x to 1',
        r"select '\'--'; set x to 1; --'",
        "select $$'$$ --'; \n; set x to 1",
        "/* '*/ set x to 1 -- '",
        "!",
    ],
)
def test_what_changes_the_session_or_may_is_a_trace(sql: str) -> None:
    """Settings, temporary tables, prepared statements, procedures, and whatever is not known to change nothing."""
    assert not leaves_no_trace(sql)


def test_a_text_that_cannot_be_told_apart_is_a_trace() -> None:
    """A semicolon within a text cuts the statement in two, of which the second begins with no known word."""
    assert not leaves_no_trace("select 'a; b' as text")

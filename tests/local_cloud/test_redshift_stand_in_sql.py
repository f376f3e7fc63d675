"""Redshift's SQL means on the stand-in what Redshift's documentation says, and dbt-redshift's own SQL runs on it."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import redshift_connector
import yaml
from dbt.artifacts.schemas.run import RunExecutionResult
from dbt.cli.main import dbtRunner
from redshift_connector.core import Connection
from redshift_connector.error import ProgrammingError

from local_cloud.redshift_stand_in import RedshiftStandIn

UTC_DAY = dt.datetime(2020, 3, 1)  # noqa: DTZ001 - Redshift's timestamps have no time zone

EXPRESSIONS = {
    "dateadd(day, -1, '2020-03-02')": UTC_DAY,
    "dateadd(month, 1, date '2020-02-01')": UTC_DAY,
    "dateadd('qtr', 1, timestamp '2019-12-01')": UTC_DAY,
    "dateadd(hr, 24.9, timestamp '2020-02-29')": UTC_DAY,
    # https://docs.aws.amazon.com/redshift/latest/dg/r_DATEDIFF_function.html: boundaries count, not elapsed time.
    "datediff(year, date '2019-12-31', date '2020-01-01')": 1,
    "datediff(qtr, '1998-07-01', '2008-12-31')": 41,
    "datediff(month, '2020-01-31', '2020-02-01')": 1,
    "datediff(week, '2009-01-01', '2009-12-31')": 52,
    "datediff(day, timestamp '2020-01-01 23:59', timestamp '2020-01-02 00:01')": 1,
    "datediff(hour, timestamp '2020-01-01 10:59', timestamp '2020-01-01 11:01')": 1,
    "datediff(minute, timestamp '2020-01-02', date '2020-01-01')": -1440,
    "date_trunc('month', date '2020-03-15')": UTC_DAY,
    "date_part(dow, date '2026-11-22')": 0.0,
    "last_day(date '2020-02-03')": dt.date(2020, 2, 29),
    "add_months(date '2020-01-31', 1)": dt.datetime(2020, 2, 29),  # noqa: DTZ001 - as above
    "months_between(date '2020-03-31', date '2020-02-29')": 1.0,
    "next_day(date '2026-11-22', 'Sunday')": dt.date(2026, 11, 29),
    "trunc(timestamp '2020-03-01 23:00')": dt.date(2020, 3, 1),
    "trunc(1.7)": Decimal(1),
    "convert_timezone('Europe/Berlin', timestamp '2020-02-29 23:00')": UTC_DAY,
    "convert_timezone('US/Eastern', 'UTC', timestamp '2020-02-29 19:00')": UTC_DAY,
    "getdate() <= sysdate and sysdate > dateadd(minute, -1, getdate())": True,
    "nvl(null, 3)": 3,
    "nvl2(null, 1, 2)": 2,
    "decode(null::int, null, 'nothing', 1, 'one')": "nothing",
    "decode(3, 1, 'one')": None,
    "convert(varchar(3), 12345)": "123",
    "len('äb')": 2,
    "charindex('b', 'ab')": 2,
    "strtol('ff', 16)": 255,
    "sha2('a', 256)": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
    "regexp_replace('a1b2', '\\\\d', 'x')": "axbx",
    "regexp_substr('abc12', '[0-9]+')": "12",
    "'it\\'s'": "it's",
    "json_extract_path_text('{\"a\": {\"b\": 1}}', 'a', 'b')": "1",
    "json_extract_path_text('', 'a')": "",
    "json_array_length('[1, 2]')": 2,
    'json_extract_array_element_text(\'["x", "y"]\', 1)': "y",
    "is_valid_json('{}') and not is_valid_json('{')": True,
    "json_serialize(object('a', array(1, 2)))": '{"a": [1, 2]}',
    "get_array_length(split_to_array('a,b'))": 2,
    "json_serialize(array_concat(array(1), array(2)))": "[1, 2]",
}
QUERIES = {
    "select listagg(distinct a, ',') within group (order by a desc) from t": [["y,x"]],
    "select listagg(b) within group (order by b) from t": [["123"]],
    "select median(b), approximate count(distinct a), any_value(1) from t": [[2.0, 2, 1]],
    "select top 1 b from t order by b desc": [[3]],
    "select b from t minus select 1 minus select 2": [[3]],
    "select a, b from t qualify row_number() over (partition by a order by b desc) = 1 order by b": [
        ["x", 2],
        ["y", 3],
    ],
    "select * from t where b < 3 qualify row_number() over (partition by a order by b desc) = 1": [["x", 2]],
    "select *, rank() over (order by b desc) as place from t qualify place = 1 limit 1": [["y", 3, 1]],
    "with u as (select * from t qualify b = max(b) over ()) select count(*) from u": [[1]],
    "select max(b) from (select b from (select * from t) where b < 3)": [[2]],
    "select 1 from information_schema.tables where 1 = 0": [],
}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedshiftStandIn]:
    """One stand-in for all tests of this module."""
    running = RedshiftStandIn(tmp_path_factory.mktemp("stand-in"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def connection(stand_in: RedshiftStandIn) -> Iterator[Connection]:
    """A session of dbt's driver; each statement is committed by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(stand_in.ca_file))
        session = redshift_connector.connect(
            host=stand_in.host,
            port=stand_in.port,
            user=stand_in.user,
            password=stand_in.password,
            database=stand_in.database,
            sslmode="verify-full",
        )
    session.autocommit = True
    session.cursor().execute("create table public.t (a varchar(max) encode zstd, b int) diststyle even sortkey (b)")
    session.cursor().execute("insert into t values ('x', 1), ('x', 2), ('y', 3)")
    yield session
    session.close()


def _rows(connection: Connection, statement: str) -> list[list[object]]:
    return [list(row) for row in connection.cursor().execute(statement).fetchall()]


@pytest.mark.parametrize(("expression", "expected"), EXPRESSIONS.items())
def test_expressions_have_redshifts_value(connection: Connection, expression: str, expected: object) -> None:
    """Each expression gives what Redshift gives."""
    assert _rows(connection, f"select {expression}") == [[expected]]


@pytest.mark.parametrize(("query", "expected"), QUERIES.items())
def test_queries_have_redshifts_rows(connection: Connection, query: str, expected: list[list[object]]) -> None:
    """Each query gives what Redshift gives."""
    assert _rows(connection, query) == expected


def test_super_values_are_stored_and_taken_apart(connection: Connection) -> None:
    """SUPER holds what json_parse gives, and brackets lead into it."""
    cursor = connection.cursor()
    cursor.execute("create table public.s (id int identity(1, 1), v super) diststyle auto")
    cursor.execute("insert into s (v) values (json_parse('{\"x\": [7, 8]}'))")
    assert _rows(connection, "select id, v['x'][1]::int from s") == [[1, 8]]


def test_texts_are_varchar_to_clients(connection: Connection) -> None:
    """Results and the catalog name Redshift's types, in which dbt's contracts are written."""
    cursor = connection.cursor()
    cursor.execute("select 'a'::text as a, upper('a') as b, json_parse('1') as c, 1 as d")
    assert [column[1] for column in cursor.description] == [1043, 1043, 4000, 23]
    cursor.execute("create table public.types as select 'a'::text as a, json_parse('1') as b")
    catalog = (
        'select data_type, character_maximum_length from information_schema."columns"'
        " where table_name = 'types' order by ordinal_position"
    )
    assert _rows(connection, catalog) == [["character varying", 65535], ["super", None]]


def test_bound_parameters_are_values(connection: Connection) -> None:
    """Quotes and backslashes in parameters are data."""
    cursor = connection.cursor()
    assert list(cursor.execute("select %s, %s", ("a'b\\", 5)).fetchall()) == [["a'b\\", 5]]


def test_what_is_not_covered_is_refused(connection: Connection) -> None:
    """A statement that the stand-in cannot run fails; it does not pretend."""
    with pytest.raises(ProgrammingError, match="syntax error"):
        connection.cursor().execute("unload ('select 1') to 's3://bucket/key' iam_role default")


MODELS = {
    "base.sql": "{{ config(dist='id', sort='id') }} select 1 as id, cast('a' as varchar(max)) as name",
    "materialized.sql": (
        "{{ config(materialized='materialized_view', auto_refresh=true) }} select id, count(*) as n"
        " from {{ ref('base') }} group by id"
    ),
    "late.sql": "{{ config(materialized='view', bind=false) }} select * from {{ ref('base') }}",
    "merged.sql": (
        "{{ config(materialized='incremental', unique_key='id', incremental_strategy='merge') }}"
        " select id, name, getdate() as built_at from {{ ref('base') }}"
    ),
    "granted.sql": "{{ config(grants={'select': ['reader']}, query_group='nightly') }} select * from {{ ref('base') }}",
    "semi.sql": "select json_parse('[1]') as v",
    "promised.sql": "select 1 as id, upper('a') || 'b' as name, json_parse('[1]') as v",
}
CONTRACT = """
models:
  - name: promised
    config: {materialized: table, contract: {enforced: true}}
    columns:
      - {name: id, data_type: integer}
      - {name: name, data_type: varchar}
      - {name: v, data_type: super}
"""


def test_a_project_that_nobody_fitted_to_it_builds_twice(stand_in: RedshiftStandIn, tmp_path: Path) -> None:
    """Materialized and late-binding views, SUPER, merges and grants pass on the first and on the second run."""
    stand_in.run_sql("create role reader")
    (tmp_path / "models").mkdir()
    for name, text in MODELS.items():
        (tmp_path / "models" / name).write_text(text)
    (tmp_path / "models" / "contract.yml").write_text(CONTRACT)
    (tmp_path / "dbt_project.yml").write_text("name: foreign_project\nprofile: p\nflags: {partial_parse: false}\n")
    target = {
        "type": "redshift",
        "host": stand_in.host,
        "port": stand_in.port,
        "user": stand_in.user,
        "password": stand_in.password,
        "dbname": stand_in.database,
        "schema": "foreign_project",
        "sslmode": "verify-full",
        "threads": 2,
    }
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"p": {"target": "t", "outputs": {"t": target}}}))
    for command in ("run", "run", "docs generate"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(stand_in.ca_file))
            result = dbtRunner().invoke(
                [
                    *("--no-send-anonymous-usage-stats", "--log-path", str(tmp_path / "logs"), *command.split()),
                    *("--project-dir", str(tmp_path), "--profiles-dir", str(tmp_path)),
                    *("--target-path", str(tmp_path / "target")),
                ]
            )
        assert result.success, _messages(result.result) or result.exception
    catalog = (tmp_path / "target" / "catalog.json").read_text()
    assert all(f"model.foreign_project.{name.removesuffix('.sql')}" in catalog for name in MODELS)


def _messages(result: object) -> list[str]:
    return [str(node.message) for node in result.results] if isinstance(result, RunExecutionResult) else []

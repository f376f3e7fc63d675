"""A schedule means the same to EventBridge Scheduler as to Airflow."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from constructs_lib.aws_cron import scheduler_expressions

_START = datetime(2026, 2, 25, 22, 50, tzinfo=UTC)
_FEW_DAYS = timedelta(days=4)


def _numbers(field: str) -> set[int] | None:
    """The values of a field of numbers, ranges and lists; None for any value."""
    if field == "*":
        return None
    ranges = [part.partition("-") for part in field.split(",")]
    return {number for first, _, last in ranges for number in range(int(first), int(last or first) + 1)}


def _means(expression: str, moment: datetime) -> bool:
    """
    Whether EventBridge Scheduler fires at `moment`, by its documentation: days of the week count from Sunday = 1.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html#cron-based
    """
    match = re.fullmatch(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) \*\)", expression)
    assert match
    fields = list(match.groups())
    assert [fields[2], fields[4]].count("?") == 1
    values = [moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7 + 1]
    return all(
        field == "?" or (numbers := _numbers(field)) is None or value in numbers
        for field, value in zip(fields, values, strict=True)
    )


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ranges = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    steps = st.tuples(st.one_of(st.just("*"), ranges), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    part = st.one_of(number.map(str), ranges, steps)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


_CRONS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 7)).map(" ".join)


# Not timed: a day of minutes is looked through in its own time.
@settings(deadline=None)
@given(_CRONS)
def test_next_times_are_those_of_cron(cron: str) -> None:
    """Any of the expressions fires exactly when croniter, which Airflow asks too, says that the schedule is due."""
    assume(croniter.is_valid(cron))
    expressions = scheduler_expressions(cron)
    try:
        expected = croniter(cron, _START).get_next(datetime)
    except CroniterBadDateError:
        assume(False)
    searched_until = min(expected, _START + _FEW_DAYS)
    minutes = int((searched_until - _START).total_seconds() // 60)

    fired = [
        moment
        for moment in (_START + timedelta(minutes=number) for number in range(1, minutes + 1))
        if any(_means(expression, moment) for expression in expressions)
    ]

    assert fired == ([expected] if expected <= searched_until else [])
    assert any(_means(expression, expected) for expression in expressions)


@pytest.mark.parametrize(
    ("cron", "expressions"),
    [
        ("0 5 * * *", ["cron(0 5 * * ? *)"]),
        ("*/15 8-17 * * 1-5", ["cron(0,15,30,45 8-17 ? * 2-6 *)"]),
        ("0 6 * * 0", ["cron(0 6 ? * 1 *)"]),
        ("0 6 * * 7", ["cron(0 6 ? * 1 *)"]),
        ("0 6 1,15 * *", ["cron(0 6 1,15 * ? *)"]),
        ("0 6 1 * 1", ["cron(0 6 1 * ? *)", "cron(0 6 ? * 2 *)"]),
    ],
)
def test_days_are_in_schedulers_words(cron: str, expressions: list[str]) -> None:
    """Sunday is 1, "?" stands where no day is meant, and days of the month or of the week are two schedules."""
    assert scheduler_expressions(cron) == expressions


@given(_CRONS)
def test_expression_is_not_longer_than_scheduler_takes(cron: str) -> None:
    """At most 256 characters: https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html"""
    assume(croniter.is_valid(cron))

    assert max(map(len, scheduler_expressions(cron))) <= 256

"""A cron expression of five fields in the words of EventBridge Scheduler."""

from collections.abc import Sequence
from itertools import groupby

from croniter import croniter

_ANY = "*"
_UNUSED = "?"


def scheduler_expressions(cron: str) -> list[str]:
    """
    What EventBridge Scheduler needs for the times of `cron`: one expression, or two where it names both days of the month and of
    the week.

    Cron then means any of the two, and Scheduler knows only one at a time: a day that both name is in both expressions.
    `cron` is five numeric fields. Scheduler has a year as a sixth field, counts the days of the week from Sunday = 1, and wants
    "?" in the field of the days that is not used: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """
    expanded = croniter.expand(cron)[0]
    minutes, hours, days, months = (_field(values) for values in expanded[:4])
    weekdays = _field(expanded[4], first=1)
    if weekdays == _ANY:
        return [f"cron({minutes} {hours} {days} {months} {_UNUSED} *)"]
    by_weekday = f"cron({minutes} {hours} {_UNUSED} {months} {weekdays} *)"
    if days == _ANY:
        return [by_weekday]
    return [f"cron({minutes} {hours} {days} {months} {_UNUSED} *)", by_weekday]


def _field(values: Sequence[int | str], *, first: int = 0) -> str:
    return _ANY if list(values) == [_ANY] else _listed([int(value) + first for value in values])


def _listed(values: Sequence[int]) -> str:
    """Numbers as a list of ranges: [1, 2, 3, 5] is "1-3,5"; steps are left to no one's reading."""
    ranges = [
        [value for _, value in run]
        for _, run in groupby(enumerate(sorted(set(values))), key=lambda pair: pair[1] - pair[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in ranges)

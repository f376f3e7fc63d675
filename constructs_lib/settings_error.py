"""The one error that means: the settings are wrong, not the program."""

from collections.abc import Iterable


class SettingsError(ValueError):
    """
    A setting, or the dbt project that it names, cannot be deployed.

    `app.py` prints the message of this error alone, without a traceback; it must therefore say which setting is meant,
    what was got and what is allowed.
    """


def check_one_of(setting: str, value: object, allowed: Iterable[object]) -> None:
    """Raise `SettingsError` unless `value` is one of `allowed`."""
    choices = list(allowed)
    if value not in choices:
        raise SettingsError(f"{setting} must be one of {', '.join(map(repr, choices))}, got {value!r}")

"""A name for what dbt hands out: its classes are not made for use from outside, and their types do not hold."""

from typing import Any, TypeAlias

DbtObject: TypeAlias = Any

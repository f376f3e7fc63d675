"""Modules that are loaded when something of them is used: Airflow parses a DAG file over and over, each time in a new process."""

import importlib


class Late:
    """Stands for the module `name`; the first use of anything in it imports it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> object:
        """What the module has under that name."""
        return getattr(importlib.import_module(self._name), attribute)

"""
Work that dbt and its driver do for nobody, left out.

Found with py-spy in runs of the sample project: `inspect.stack()`, which reads source files to name a calling module, took
15 % of all CPU time at one call for each connection (dbt opens one for each node) and some for each command; events that
no logger and no callback takes took several per cent.
"""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Iterator

from runner.dbt_types import DbtObject

APPLICATION_NAME = "dbt"
_ALLOCATIONS_BEFORE_COLLECTION = 50_000


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage while modules are imported, which make much that stays and little that goes."""
    gc.disable()
    try:
        yield
    finally:
        # Python's default, 2,000 allocations, is for programs with little memory; dbt makes as many for each node.
        gc.set_threshold(_ALLOCATIONS_BEFORE_COLLECTION)
        gc.enable()
        keep_what_is_there()


def keep_what_is_there() -> None:
    """Let later collections of garbage not look at what exists now: modules, the manifest."""
    gc.freeze()


@functools.cache
def apply() -> None:
    """Change dbt, which must be imported, for this process; nothing that the runner reads is different afterwards."""
    _name_the_connections()
    _name_no_source_of_behavior_flags()
    _make_events_when_they_are_read()
    _drop_debug_events()


def _name_the_connections() -> None:
    """Without a name the driver looks through the whole call stack for one, for each connection."""
    import redshift_connector  # noqa: PLC0415 - only after dbt is imported

    redshift_connector.connect = functools.partial(redshift_connector.connect, application_name=APPLICATION_NAME)


def _name_no_source_of_behavior_flags() -> None:
    """The call stack is looked through for each flag of the adapter in each command, for the text of a warning."""
    from dbt_common.behavior_flags import BehaviorFlagRendered  # noqa: PLC0415 - see above

    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt.adapters.redshift.impl")  # type: ignore[method-assign]  # noqa: SLF001 - there is no other way


def _make_events_when_they_are_read() -> None:
    """An event makes its protobuf message, the costly part, when somebody first asks for anything in it."""
    from dbt_common.events.base_types import BaseEvent  # noqa: PLC0415 - see above

    make, read = BaseEvent.__init__, BaseEvent.__getattr__

    def keep_arguments(event: BaseEvent, *arguments: DbtObject, **fields: DbtObject) -> None:
        object.__setattr__(event, "_arguments", (arguments, fields))

    def make_and_read(event: BaseEvent, name: str) -> DbtObject:
        own = vars(event)
        if "pb_msg" not in own and "_arguments" in own:
            arguments, fields = own["_arguments"]
            make(event, *arguments, **fields)
        return read(event, name)  # type: ignore[no-untyped-call]

    def make_and_write(event: BaseEvent, name: str, value: DbtObject) -> None:
        if name == "pb_msg":
            object.__setattr__(event, name, value)
        else:
            setattr(event.pb_msg, name, value)

    BaseEvent.__init__ = keep_arguments  # type: ignore[method-assign, assignment]
    BaseEvent.__getattr__ = make_and_read  # type: ignore[method-assign]
    BaseEvent.__setattr__ = make_and_write  # type: ignore[method-assign]


def _drop_debug_events() -> None:
    """The runner's log has what is worth information and more; dbt's own log is off."""
    from dbt_common.events.base_types import EventLevel  # noqa: PLC0415 - see above
    from dbt_common.events.event_manager import EventManager  # noqa: PLC0415 - see above

    fire = EventManager.fire_event
    dropped = frozenset({EventLevel.DEBUG, EventLevel.TEST})

    def fire_what_is_read(
        manager: EventManager,
        e: DbtObject,
        level: DbtObject = None,
        node: DbtObject = None,
        force_warn_or_error_handling: bool = False,
    ) -> None:
        if force_warn_or_error_handling or (level or e.level_tag()) not in dropped:
            fire(manager, e, level, node, force_warn_or_error_handling)

    EventManager.fire_event = fire_what_is_read  # type: ignore[method-assign, assignment]

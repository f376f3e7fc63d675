"""
Work that dbt and its driver do for nobody, left out.

Found with py-spy in runs of the sample project: `inspect.stack()`, which reads source files to name a calling module, took
15 % of all CPU time at one call for each connection (dbt opens one for each node) and some for each command; events that
no logger and no callback takes took several per cent. Found with `time.thread_time()` around single functions, in runs of
the sample project and of 500 models: the macros of every context took 10 and 23 %, splitting into statements what is only
one 10 and 4 %, words for dates that no table needs 2 and 3 %.

Each is for the code that it was made for: where a project pins versions in which that code is another one, it is left out.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator

from runner.dbt_types import DbtObject
from runner.generated_code import use_kept_schemas
from runner.kept_sessions import keep_sessions
from runner.known_code import OtherCodeError, require_known
from runner.templates import use_compiled_macros

APPLICATION_NAME = "dbt"
_LOG = logging.getLogger("runner")
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


def fits(saving: Callable[[], None]) -> bool:
    """Make use of `saving`; returns False, and has changed nothing, where it was made for other code than is installed."""
    try:
        saving()
    except (ImportError, AttributeError, OtherCodeError) as reason:
        _LOG.info("a saving is left out: %s", reason, extra={"saving": saving.__name__.strip("_")})
        return False
    return True


@functools.cache
def compile_classes_when_they_are_used() -> None:
    """
    Let every class make its (de)serializers at their first use, as dbt asks for its own; call it before importing dbt.

    What is put in their place costs nothing; mashumaro compiles some 1,200 such stand-ins, a quarter of what importing dbt takes.
    """
    from mashumaro.config import BaseConfig  # noqa: PLC0415 - only where dbt is imported too
    from mashumaro.core.meta.code.builder import CodeBuilder  # noqa: PLC0415 - see above

    require_known(
        "6d1f4c661d4bcf5c07a849a4958937d303f64952b5489ea7b3b9036aeee1368b",
        CodeBuilder.__init__,
        CodeBuilder.add_unpack_method,
        CodeBuilder.add_pack_method,
    )
    BaseConfig.lazy_compilation = True
    make_unpacker, make_packer = CodeBuilder.add_unpack_method, CodeBuilder.add_pack_method

    # What mashumaro makes for a class that is lazy does the same as these two, but is compiled for each class by itself.
    def add_unpack_method(builder: CodeBuilder) -> None:
        if not _is_for_later(builder):
            make_unpacker(builder)
            return
        name = builder.get_unpack_method_name(format_name=builder.format_name, decoder=builder.decoder)

        def unpack(cls: type, *arguments: DbtObject, **options: DbtObject) -> DbtObject:
            now = CodeBuilder(
                cls,
                first_method=name,
                allow_postponed_evaluation=False,
                format_name=builder.format_name,
                decoder=builder.decoder,
                default_dialect=builder.default_dialect,
            )
            make_unpacker(now)
            return getattr(cls, name)(*arguments, **options)

        for each in (name, name.public):
            setattr(builder.cls, each, classmethod(unpack))

    def add_pack_method(builder: CodeBuilder) -> None:
        if not _is_for_later(builder):
            make_packer(builder)
            return
        name = builder.get_pack_method_name(format_name=builder.format_name, encoder=builder.encoder)

        def pack(instance: DbtObject, *arguments: DbtObject, **options: DbtObject) -> DbtObject:
            now = CodeBuilder(
                type(instance),
                first_method=name,
                allow_postponed_evaluation=False,
                format_name=builder.format_name,
                encoder=builder.encoder,
                encoder_kwargs=builder.encoder_kwargs,
                default_dialect=builder.default_dialect,
            )
            make_packer(now)
            return getattr(instance, name)(*arguments, **options)

        for each in (name, name.public):
            setattr(builder.cls, each, pack)

    CodeBuilder.add_unpack_method = add_unpack_method  # type: ignore[method-assign, assignment]
    CodeBuilder.add_pack_method = add_pack_method  # type: ignore[method-assign, assignment]


def _is_for_later(builder: DbtObject) -> bool:
    """Whether it makes a method of a class of its own, which nothing needs before it is called."""
    is_plain = builder.dialect is None and builder.is_nailed and not builder.initial_type_args
    return bool(is_plain and builder.allow_postponed_evaluation)


@functools.cache
def apply() -> tuple[str, ...]:
    """
    Change dbt, which must be imported, for this process; nothing that the runner reads is different afterwards.

    Returns the names of the savings that do not fit the installed versions and are left out.
    """
    savings = (
        _name_the_connections,
        _name_no_source_of_behavior_flags,
        _make_events_when_they_are_read,
        _drop_debug_events,
        _fill_contexts_at_once,
        _split_no_single_statement,
        _share_the_words_for_dates,
        use_compiled_macros,
        use_kept_schemas,
        keep_sessions,
    )
    return tuple(saving.__name__ for saving in savings if not fits(saving))


def _name_the_connections() -> None:
    """Without a name the driver looks through the whole call stack for one, for each connection."""
    import redshift_connector  # noqa: PLC0415 - only after dbt is imported

    if "application_name" not in inspect.signature(redshift_connector.connect).parameters:
        raise OtherCodeError("redshift_connector.connect takes no application_name")
    redshift_connector.connect = functools.partial(redshift_connector.connect, application_name=APPLICATION_NAME)


def _name_no_source_of_behavior_flags() -> None:
    """The call stack is looked through for each flag of the adapter in each command, for the text of a warning."""
    from dbt_common.behavior_flags import BehaviorFlagRendered  # noqa: PLC0415 - see above

    require_known("56d8a04f804fea5f3cec68ca5e17ea4e2220d5ee429504315aeb174604d5abd1", BehaviorFlagRendered)
    BehaviorFlagRendered._default_source = staticmethod(lambda: "dbt.adapters.redshift.impl")  # type: ignore[method-assign]  # noqa: SLF001 - there is no other way


def _make_events_when_they_are_read() -> None:
    """An event makes its protobuf message, the costly part, when somebody first asks for anything in it."""
    from dbt_common.events.base_types import BaseEvent  # noqa: PLC0415 - see above

    require_known("7574b7b68738169871116a7e9676f733c8b5ba7c20c76cbd28eba737e4e9e990", BaseEvent)
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

    require_known("5c04bc105a056ee9139af8e3ee025c7f506aa00303d7998fec6e019bf42450c3", EventManager.fire_event)
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


def _fill_contexts_at_once() -> None:
    """
    Each context, of which a node has several, gets an object of its own for each of some 600 macros, looked up one by one.

    The objects and the order in which packages win are dbt's; only the way there is shorter.
    """
    from dbt.clients.jinja import MacroGenerator  # noqa: PLC0415 - see above
    from dbt.context import macros as dbt_macros  # noqa: PLC0415 - see above
    from dbt.context.macros import MacroNamespace  # noqa: PLC0415 - see above
    from dbt.exceptions import DuplicateMacroNameError  # noqa: PLC0415 - see above
    from dbt.include.global_project import PROJECT_NAME  # noqa: PLC0415 - see above

    require_known(
        "fa9f099bc5d6ad8d21ae5af705e77808744bd1a538559140b26a6b4804d4a103",
        MacroGenerator.__init__,
        MacroNamespace,
        dbt_macros.MacroNamespaceBuilder,
    )

    def keep_arguments(
        generator: MacroGenerator,
        macro: DbtObject,
        context: DbtObject = None,
        node: DbtObject = None,
        stack: DbtObject = None,
    ) -> None:
        generator.context = context
        generator.macro = macro
        generator.node = node
        generator.stack = stack

    def add_macros(builder: DbtObject, macros: Iterable[DbtObject], ctx: dict[str, DbtObject]) -> None:
        node, stack, internal = builder.node, builder.thread_ctx, builder.internal_package_names
        for macro in macros:
            name, package = macro.name, macro.package_name
            is_internal = package in internal
            namespace = (builder.internal_packages if is_internal else builder.packages).setdefault(package, {})
            if name in namespace:
                raise DuplicateMacroNameError(macro, macro, package)
            generator = namespace[name] = MacroGenerator(macro, ctx, node, stack)
            if is_internal:
                continue
            if package == builder.search_package:
                builder.locals[name] = generator
            elif package == builder.root_package:
                builder.globals[name] = generator

    class FlatNamespace(dict[str, DbtObject], MacroNamespace):
        """What dbt's namespace finds for each name, found already."""

        def __init__(
            self,
            global_namespace: dict[str, DbtObject],
            local_namespace: dict[str, DbtObject],
            global_project_namespace: dict[str, DbtObject],
            packages: dict[str, DbtObject],
        ) -> None:
            MacroNamespace.__init__(self, global_namespace, local_namespace, global_project_namespace, packages)
            # dbt takes the first of those that have a name, an update the last.
            self.update(global_project_namespace)
            self[PROJECT_NAME] = global_project_namespace
            self.update(packages)
            self.update(global_namespace)
            self.update(local_namespace)

    MacroGenerator.__init__ = keep_arguments  # type: ignore[method-assign, assignment]
    dbt_macros.MacroNamespaceBuilder.add_macros = add_macros  # type: ignore[method-assign, assignment]
    dbt_macros.MacroNamespace = FlatNamespace  # type: ignore[misc]


def _split_no_single_statement() -> None:
    """The adapter has every statement taken to pieces, to find where it ends."""
    import sqlparse  # noqa: PLC0415 - see above

    require_known("8b5297d70748a38a53a03976ad5883ee019d0646be548e6cc6fd97681e282bd7", sqlparse.split)
    split = sqlparse.split

    def split_several(sql: str, encoding: str | None = None, strip_semicolon: bool = False) -> list[str]:
        statement = sql.strip() if isinstance(sql, str) else ""
        # Only a semicolon and the word GO end a statement; white space after the last one belongs to none.
        is_one = statement and ";" not in statement[:-1] and "GO" not in statement
        return [statement] if is_one and not strip_semicolon else split(sql, encoding, strip_semicolon)

    sqlparse.split = split_several


def _share_the_words_for_dates() -> None:
    """Each table of an answer, empty ones too, has three parsers of dates, and each of these had all words for dates anew."""
    import parsedatetime  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

    parsedatetime.Constants = functools.cache(parsedatetime.Constants)

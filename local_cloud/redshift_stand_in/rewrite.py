"""
Redshift's SQL in PostgreSQL's words.

sqlglot can translate whole statements, but not well enough for a stand-in (tried with 30.x): it fails on `diststyle key distkey (a)`,
loses `listagg`'s separator, and counts elapsed time where Redshift's `datediff` counts boundaries.
So the statement keeps its text, and only what PostgreSQL cannot read is replaced token by token with sqlglot's Redshift tokenizer,
which knows strings, comments and quoted names. What is a function in Redshift is a function here too (`redshift.sql`).

Not covered, and passed on as it is for PostgreSQL to refuse: copy, unload, external tables, data sharing, `show` and `use`,
`alter table ... append`, temporary tables named with `#`, window forms of `listagg` and `percentile_cont`, `ratio_to_report`,
pivot, `select * exclude`, `qualify` on window functions over the star of a join, a column alias used beside its definition, `top ... percent`, navigation of SUPER values with dots.
A view `with no schema binding` is bound here: it goes with the table that it reads.
How a materialized view is spread, sorted and refreshed is not kept, so dbt replaces one with such settings at every run.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType
from sqlglot.transforms import eliminate_qualify

# A model of 10,000 characters takes 10 ms. What is much longer holds rows, not expressions, and would stop all sessions for seconds.
_LONGEST_STATEMENT = 300_000
_TRIGGER = re.compile(
    r"""\b(
        diststyle | distkey | sortkey | encode | backup | auto\s+refresh | identity | no\s+schema\s+binding
      | max | n?varchar | listagg | approximate | minus | top | qualify | sysdate
      | date_?add | date_?diff | date_part | nvl2? | decode | convert | regexp_replace | object | array
      | pg_views | pg_class | pg_attribute | information_schema
    )\b | \b(from|join)\s*\(""",
    re.IGNORECASE | re.VERBOSE,
)
# sqlglot reads these commands as one word and a text.
_SETTING = re.compile(
    r"((?:\s|/\*.*?\*/|--[^\n]*\n)*(?:set|reset|show)\s+(?:session\s+|local\s+)?)(query_group|enable_case_\w+|wlm_\w+)\b",
    re.IGNORECASE | re.DOTALL,
)
_ENCODINGS = frozenset(
    [
        "auto",
        "az64",
        "bytedict",
        "delta",
        "delta32k",
        "lzo",
        "mostly8",
        "mostly16",
        "mostly32",
        "raw",
        "runlength",
        "text255",
        "text32k",
        "zstd",
    ]
)
_DIST_STYLES = frozenset({"all", "auto", "even", "key"})
_DATE_FUNCTIONS = {
    "dateadd": "redshift_dateadd",
    "date_add": "redshift_dateadd",
    "datediff": "redshift_datediff",
    "date_diff": "redshift_datediff",
    "date_part": "date_part",
}
# PostgreSQL's catalog with what dbt-redshift asks of Redshift's: see redshift.sql.
_CATALOG = {
    "information_schema": frozenset({"columns", "views"}),
    "pg_catalog": frozenset({"pg_attribute", "pg_class", "pg_views"}),
}
# What follows a subquery that has no alias, besides the end of the statement.
_AFTER_SUBQUERY = frozenset(
    {")", ",", ";", "where", "group by", "order by", "having", "qualify", "window", "limit", "offset", "on", "using"}
    | {"union", "except", "intersect", "minus", "join", "inner", "left", "right", "full", "cross", "natural"}
)
# Functions that have a `from` of their own.
_FROM_FUNCTIONS = frozenset({"extract", "overlay", "substring", "trim"})
_SELECT_ENDS = frozenset({TokenType.UNION, TokenType.EXCEPT, TokenType.INTERSECT, TokenType.SEMICOLON})
_QUOTED = frozenset({TokenType.STRING, TokenType.IDENTIFIER, TokenType.HEREDOC_STRING, TokenType.NATIONAL_STRING})


def rewrite(sql: str) -> str:
    """`sql` as PostgreSQL can run it; unchanged where nothing needs to change or where it cannot be read as Redshift's."""
    if setting := _SETTING.match(sql):
        # PostgreSQL keeps settings that it does not know below a prefix only.
        return f"{setting[1]}redshift.{sql[setting.end(1) :]}"
    if len(sql) > _LONGEST_STATEMENT or not _TRIGGER.search(sql):
        return sql
    try:
        tokens = Redshift().tokenize(sql)
    except SqlglotError:
        return sql
    rewritten = _Statement(sql, tokens).rewritten()
    if any(token.token_type is TokenType.QUALIFY for token in tokens):
        return _without_qualify(rewritten)
    return rewritten


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of a function call as ranges of tokens, and the index of its closing parenthesis."""

    arguments: tuple[tuple[int, int], ...]
    close: int


class _Statement:
    """One statement; every `_rule` returns the text that replaces tokens from an index on, and the index after them."""

    def __init__(self, sql: str, tokens: Sequence[Token]) -> None:
        self._sql = sql
        self._tokens = tokens
        # "order by" is one token, whatever stands between its words.
        self._words = ["" if token.token_type in _QUOTED else " ".join(token.text.lower().split()) for token in tokens]
        self._defines = self._words[:1] in (["create"], ["alter"])
        self._limits: dict[int, list[str]] = {}
        self._rules = self._rules_for_statement()

    def rewritten(self) -> str:
        if not self._tokens:
            return self._sql
        head, tail = self._sql[: self._tokens[0].start], self._sql[self._tokens[-1].end + 1 :]
        return head + self._text(0, len(self._tokens)) + tail

    def _rules_for_statement(self) -> tuple[Callable[[int], tuple[str, int] | None], ...]:
        expressions = (self._subquery, self._call, self._type, self._word, self._catalog)
        if self._defines:
            return (self._physical_attribute, *expressions)
        return expressions

    def _text(self, first: int, end: int) -> str:
        """The text of tokens `first` to `end` (exclusive) with all rules applied, and what stands between them kept."""
        parts: list[str] = []
        index = first
        previous_end = self._tokens[first].start if first < end else 0
        while index < end:
            parts.append(self._sql[previous_end : self._tokens[index].start])
            parts.extend(self._limits.pop(index, ()))
            replaced = next((result for rule in self._rules if (result := rule(index)) is not None), None)
            if replaced is None:
                parts.append(self._sql[self._tokens[index].start : self._tokens[index].end + 1])
                index += 1
            else:
                text, index = replaced
                parts.append(text)
            previous_end = self._tokens[index - 1].end + 1
        parts.extend(self._limits.pop(end, ()))
        return "".join(parts)

    def _is(self, index: int, *words: str) -> bool:
        """Whether the unquoted tokens from `index` on are `words`."""
        return self._words[index : index + len(words)] == list(words)

    def _word_at(self, index: int) -> str:
        return self._words[index] if 0 <= index < len(self._words) else ""

    def _close_of(self, opening: int) -> int | None:
        """The index of the parenthesis that closes the one at `opening`."""
        depth = 0
        for index in range(opening, len(self._tokens)):
            kind = self._tokens[index].token_type
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
            if depth == 0:
                return index
        return None

    def _call_at(self, index: int) -> _Call | None:
        """The call of the function whose name stands at `index`."""
        close = self._close_of(index + 1) if self._word_at(index + 1) == "(" else None
        if close is None or self._word_at(index - 1) == ".":
            return None
        commas = []
        depth = 0
        for position in range(index + 2, close):
            kind = self._tokens[position].token_type
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
            if depth == 0 and kind is TokenType.COMMA:
                commas.append(position)
        starts = [index + 2, *(comma + 1 for comma in commas)]
        return _Call(tuple(zip(starts, [*commas, close], strict=True)), close)

    # Definitions of tables and views.

    def _physical_attribute(self, index: int) -> tuple[str, int] | None:  # noqa: PLR0911 - one line for each attribute
        """How a table is spread and stored: of no meaning to PostgreSQL."""
        word, following = self._words[index], self._word_at(index + 1)
        if word == "diststyle" and following in _DIST_STYLES:
            return "", index + 2
        if (word == "encode" and following in _ENCODINGS) or (word == "backup" and following in {"yes", "no"}):
            return "", index + 2
        if word in {"compound", "interleaved"} and following == "sortkey":
            return "", index + 1
        if word in {"distkey", "sortkey"}:
            return self._key(index)
        if self._is(index, "auto", "refresh"):
            # PostgreSQL has nothing to set here, and `alter` needs something to do.
            return ("set (fillfactor = 100)" if self._words[0] == "alter" else ""), index + 3
        if self._is(index, "with", "no", "schema", "binding"):
            return "", index + 4
        if word == "identity" and (call := self._call_at(index)) and len(call.arguments) == 2:
            start, step = (self._text(*argument) for argument in call.arguments)
            return f"generated by default as identity (start with {start} increment by {step})", call.close + 1
        return None

    def _key(self, index: int) -> tuple[str, int] | None:
        following = self._word_at(index + 1)
        if following == "(":
            close = self._close_of(index + 1)
            return None if close is None else ("", close + 1)
        if following == "auto":
            return "", index + 2
        is_column_attribute = following in {",", ")", "encode", "not", "null", "distkey", "sortkey"}
        is_name = self._word_at(index - 1) in {"(", ",", ".", "as", "select", "by"}
        return ("", index + 1) if is_column_attribute and not is_name else None

    def _type(self, index: int) -> tuple[str, int] | None:
        """`varchar(max)` in all its spellings, and the national types that are the same as the plain ones."""
        word = self._words[index]
        if self._is(index, "character varying", "(", "max", ")"):
            return "varchar(65535)", index + 4
        if word in {"varchar", "nvarchar"} and self._is(index + 1, "(", "max", ")"):
            return "varchar(65535)", index + 4
        if word == "nvarchar":
            return "varchar", index + 1
        return None

    # Expressions.

    def _subquery(self, index: int) -> tuple[str, int] | None:
        """PostgreSQL before version 16 wants an alias for each subquery."""
        if self._words[index] != "(" or self._word_at(index - 1) not in {"from", "join"}:
            return None
        close = self._close_of(index)
        if close is None or not self._is_query(index + 1):
            return None
        if close + 1 < len(self._tokens) and self._words[close + 1] not in _AFTER_SUBQUERY:
            return None
        if self._word_at(index - 2) == "distinct" or self._enclosing_function(index) in _FROM_FUNCTIONS:
            return None
        return f"({self._text(index + 1, close)}) as _subquery_{index}", close + 1

    def _is_query(self, index: int) -> bool:
        """Whether a query, and not a join in parentheses, begins at `index`."""
        if self._word_at(index) == "(":
            close = self._close_of(index)
            return (
                close is not None and self._tokens[close + 1].token_type in _SELECT_ENDS and self._is_query(index + 1)
            )
        return self._word_at(index) in {"select", "with"}

    def _enclosing_function(self, index: int) -> str:
        """The word before the parenthesis in which the token at `index` stands."""
        depth = 0
        for position in range(index - 1, -1, -1):
            kind = self._tokens[position].token_type
            depth += (kind is TokenType.R_PAREN) - (kind is TokenType.L_PAREN)
            if depth < 0:
                return self._word_at(position - 1)
        return ""

    def _word(self, index: int) -> tuple[str, int] | None:
        word, previous, following = self._words[index], self._word_at(index - 1), self._word_at(index + 1)
        if previous == ".":
            return None
        if word == "sysdate" and following != "(":
            return "redshift_sysdate()", index + 1
        if word == "minus" and following in {"select", "("}:
            return "except", index + 1
        if word == "approximate" and following in {"count", "percentile_disc"}:
            return "", index + 1
        if word == "top" and previous in {"select", "distinct"} and following.isdecimal():
            self._limits.setdefault(self._end_of_select(index), []).append(f" limit {following}")
            return "", index + 2
        return None

    def _end_of_select(self, index: int) -> int:
        depth = 0
        for position in range(index, len(self._tokens)):
            kind = self._tokens[position].token_type
            depth += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
            if depth < 0 or (depth == 0 and kind in _SELECT_ENDS):
                return position
        return len(self._tokens)

    def _call(self, index: int) -> tuple[str, int] | None:
        word = self._words[index]
        call = self._call_at(index)
        if call is None:
            return None
        if word == "listagg":
            return self._listagg(call)
        if word in _DATE_FUNCTIONS:
            return self._date_function(word, call)
        form = _form_of(word, len(call.arguments), self._word_at(call.arguments[0][0]))
        if form is None:
            return None
        return form([self._text(*argument).strip() for argument in call.arguments]), call.close + 1

    def _date_function(self, word: str, call: _Call) -> tuple[str, int]:
        (first, end), *others = call.arguments
        unit = self._text(first, end)
        if end - first == 1 and self._tokens[first].token_type not in _QUOTED:
            unit = f"'{self._words[first]}'"
        values = [unit, *(self._text(*argument).strip() for argument in others)]
        return f"{_DATE_FUNCTIONS[word]}({', '.join(values)})", call.close + 1

    def _listagg(self, call: _Call) -> tuple[str, int]:
        (first, end), *others = call.arguments
        distinct = "distinct " if self._words[first] == "distinct" else ""
        value = self._text(first + bool(distinct), end).strip()
        separator = self._text(*others[0]).strip() if others else "''"
        order, after = self._order_within_group(call.close + 1, value)
        return f"string_agg({distinct}({value})::text, {separator}{order})", after

    def _order_within_group(self, index: int, value: str) -> tuple[str, int]:
        close = self._close_of(index + 2) if self._is(index, "within", "group", "(", "order by") else None
        if close is None:
            return "", index
        order = self._text(index + 4, close).strip()
        name, _, direction = order.partition(" ")
        if name == value:
            # With `distinct` PostgreSQL wants the very expression that is aggregated.
            order = f"({value})::text {direction}".strip()
        return f" order by {order}", close + 1

    # The catalog.

    def _catalog(self, index: int) -> tuple[str, int] | None:
        """Redshift's own form of a catalog view that PostgreSQL has too."""
        if self._word_at(index - 1) == ".":
            return None
        word = self._words[index]
        if word in _CATALOG and self._word_at(index + 1) == "." and index + 2 < len(self._tokens):
            name = self._tokens[index + 2].text.lower()
            return (f"redshift_catalog.{name}", index + 3) if name in _CATALOG[word] else None
        is_source = self._word_at(index - 1) in {"from", "join", ","} and self._word_at(index + 1) != "."
        if is_source and word in _CATALOG["pg_catalog"]:
            # The bare name stays usable as a prefix: `from pg_class where pg_class.oid = ...`.
            alias = "" if self._has_alias(index + 1) else f" as {word}"
            return f"redshift_catalog.{word}{alias}", index + 1
        return None

    def _has_alias(self, index: int) -> bool:
        if index >= len(self._tokens):
            return False
        kind = self._tokens[index].token_type
        return kind in {TokenType.ALIAS, TokenType.VAR, TokenType.IDENTIFIER}


def _form_of(word: str, count: int, first_word: str) -> Callable[[list[str]], str] | None:  # noqa: PLR0911 - one for each function
    """How PostgreSQL writes the call of `word` with `count` arguments, where only the form differs."""
    match word, count:
        case "nvl", _:
            return lambda values: f"coalesce({', '.join(values)})"
        case "nvl2", 3:
            return lambda values: "case when {} is not null then {} else {} end".format(*values)
        case "decode", _ if count > 2:
            return _case_of_decode
        case "convert", 2:
            return lambda values: f"cast({values[1]} as {values[0]})"
        # Redshift replaces all matches; PostgreSQL the first one.
        case "regexp_replace", 3:
            return lambda values: f"regexp_replace({', '.join(values)}, 'g')"
        case "regexp_replace", 4:
            return lambda values: f"regexp_replace({', '.join(values)}, 0)"
        case "object", _:
            return lambda values: f"jsonb_build_object({', '.join(values)})"
        case "array", _ if first_word not in {"select", "with"}:
            return lambda values: f"jsonb_build_array({', '.join(values)})"
    return None


def _case_of_decode(values: list[str]) -> str:
    subject, *pairs = values
    default = pairs.pop() if len(pairs) % 2 else "null"
    branches = " ".join(
        f"when {subject} is not distinct from {pairs[i]} then {pairs[i + 1]}" for i in range(0, len(pairs), 2)
    )
    return f"case {branches} else {default} end"


def _without_qualify(sql: str) -> str:
    """`qualify` as a filter around a subquery; unchanged, for PostgreSQL to refuse, where that would change the columns."""
    try:
        (tree,) = sqlglot.parse(sql, read="postgres")
    except (SqlglotError, ValueError):
        return sql
    if tree is None:
        return sql
    # The innermost first: what is replaced is not looked at again.
    for select in reversed(list(tree.find_all(exp.Select))):
        if select.args.get("qualify"):
            filtered = _filtered(select)
            if filtered is None:
                return sql
            if select is tree:
                tree = filtered
            else:
                select.replace(filtered)
    return tree.sql(dialect="postgres")


def _filtered(select: exp.Select) -> exp.Expr | None:
    """The same rows and columns without `qualify`, or None where the columns are not known."""
    inner = select.copy()
    # These belong to the rows that are kept.
    outermost = {name: inner.args.pop(name) for name in ("with_", "order", "limit", "offset") if inner.args.get(name)}
    result = _around(inner)
    if result is not None:
        for name, clause in outermost.items():
            result.set(name, clause)
    return result


def _around(inner: exp.Select) -> exp.Expr | None:
    if not any(projection.is_star for projection in inner.expressions):
        return eliminate_qualify(inner)
    condition = inner.args.pop("qualify").this
    if not condition.find(exp.Window):
        # It speaks of the result's columns only.
        return exp.select("*").from_(inner.subquery("_all")).where(condition)
    source = inner.args["from_"].this
    if len(inner.expressions) > 1 or inner.args.get("joins") or not isinstance(inner.expressions[0], exp.Star):
        return None
    # The row travels as one value beside the condition, so that the star stays what it is.
    inner = inner.select(
        exp.alias_(exp.column(source.alias_or_name), "_row"), exp.alias_(condition, "_is_kept"), append=False
    )
    return exp.select("(_rows._row).*", dialect="postgres").from_(inner.subquery("_rows")).where("_is_kept")

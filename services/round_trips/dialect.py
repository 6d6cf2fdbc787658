"""How SQLAlchemy writes statements that the driver sends by itself: numbered parameters, text constants."""

from copy import copy
from typing import Any, cast

from sqlalchemy import TextClause, bindparam
from sqlalchemy.dialects.postgresql import psycopg as dialect

PARAMETER_MARK = "\x0e"
"""Encloses the name of a parameter in a text that is written in advance."""


class WrittenText(TextClause):
    """Text that is part of a statement as it is, but for its parameters: their names stand between marks."""

    __visit_name__ = "written_text"

    def __init__(self, text: str) -> None:
        """Keep the text; unlike its base, do not search it for names."""
        self.text, self._bindparams = text, {}


class _Compiler(dialect.PGCompiler_psycopg):
    """Writes constants into the statement, so that PostgreSQL uses partial indexes."""

    def visit_bindparam(self, bindparam: Any, **options: Any) -> Any:  # type: ignore[override]  # forwards its options
        # Only named parameters vary between uses.
        options |= {"literal_binds": bindparam.unique}
        return super().visit_bindparam(bindparam, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it

    def visit_written_text(self, element: WrittenText, **_options: Any) -> str:
        parts = element.text.split(PARAMETER_MARK)
        parts[1::2] = [self.process(bindparam(name, None)) for name in parts[1::2]]
        return "".join(parts)


class _TextCompiler(_Compiler):
    """Leaves the names of parameters in the text, between marks.

    It compiles selects of models as those of their tables: the mapper's state takes most of the time.
    """

    def visit_select(self, select_stmt: Any, *args: Any, **options: Any) -> str:
        plain = copy(select_stmt)
        vars(plain)["_propagate_attrs"] = {}  # names the mapper; SQLAlchemy has no public way to do without
        return cast("str", cast("Any", super()).visit_select(plain, *args, **options))

    def bindparam_string(self, name: str, *args: Any, **options: Any) -> str:
        text = super().bindparam_string(name, *args, **options)
        return text.replace(f":{name}", f"{PARAMETER_MARK}{name}{PARAMETER_MARK}", 1)


class _Dialect(dialect.PGDialect_psycopg):
    statement_compiler = _Compiler


class _TextDialect(dialect.PGDialect_psycopg):
    statement_compiler = _TextCompiler


DIALECT: Any = cast("Any", _Dialect)(paramstyle="numeric_dollar")
TEXT_DIALECT: Any = cast("Any", _TextDialect)(paramstyle="named")
"""Writes texts that become parts of statements."""

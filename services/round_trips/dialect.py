"""How SQLAlchemy writes statements that the driver sends by itself: numbered parameters, text constants."""

from typing import Any, cast

from sqlalchemy.dialects.postgresql import psycopg as dialect


class _Compiler(dialect.PGCompiler_psycopg):
    """Writes constants into the statement, so that PostgreSQL uses partial indexes."""

    def visit_bindparam(self, bindparam: Any, **options: Any) -> Any:  # type: ignore[override]  # forwards its options
        # Only named parameters vary between uses.
        options |= {"literal_binds": bindparam.unique}
        return super().visit_bindparam(bindparam, **options)  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it


class _Dialect(dialect.PGDialect_psycopg):
    statement_compiler = _Compiler


DIALECT: Any = cast("Any", _Dialect)(paramstyle="numeric_dollar")

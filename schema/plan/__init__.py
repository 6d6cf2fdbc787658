"""Compiled queries: relations read once for a whole list, leaves inlined into generated Python.

A compiled query returns what graphql-core would, or raises `FallBack`; then graphql-core runs the query. It
falls back at every error, because errors and their paths are graphql-core's to report.
"""

from schema.plan.compiled_query import (
    CompiledQuery,
    FallBack,
    Program,
    coerce_variables,
    compile_query,
    prepare_json_read,
    run,
    run_json,
)

__all__ = [
    "CompiledQuery",
    "FallBack",
    "Program",
    "coerce_variables",
    "compile_query",
    "prepare_json_read",
    "run",
    "run_json",
]

"""Rows that may be of several tables: those that ids name, and the one that a row references."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Uuid, literal_column, true

from services.sql_json import shape
from services.sql_json.arguments import NodesArguments
from services.sql_json.fragments import Sql, literal
from services.sql_json.sources import RowSource, Written, condition, total

if TYPE_CHECKING:
    from services.sql_json.builder import SelectBuilder


def write_rows(builder: "SelectBuilder", root: shape.Rows) -> tuple[Any, Sql, Sql]:
    """Write rows by their ids; return the table of ids, the list's text and its cost besides one object."""
    given = builder.bound.arguments[root.name]
    assert isinstance(given, NodesArguments)
    ids = given.rows(root.name, builder.name())
    options = tuple(option for option in root.options if option[0] in given.options)
    json, costs = _write_options(
        builder, options, Sql(f"{ids.name}.id"), Sql(f"{ids.name}.type"), Sql("true")
    )
    text = Sql(f"'[' || coalesce(string_agg({json}, ',' ORDER BY {ids.name}.n), '') || ']'")
    sums = (f"coalesce(sum({cost}), 0)" for cost in costs)
    return ids, text, Sql(" + ".join(["count(*) * 0", "-1", *sums]))


def write_node(builder: "SelectBuilder", value: shape.ToNode, row: RowSource, null: str) -> Written:
    """Write the row that one references, of whichever of the tables, or `null`."""
    json, costs = _write_options(
        builder, value.options, row["id"], row[value.type_column], row.is_written, null=null
    )
    return [json], costs


def _write_options(
    builder: "SelectBuilder",
    options: shape.NodeOptions,
    row_id: Sql,
    row_type: Sql,
    is_written: Sql,
    *,
    null: str = "null",
) -> tuple[Sql, list[str]]:
    """Join the tables of the types, and write the row of the one that has the id."""
    cases, costs = [], []
    for option, select_by_id, table, variants in options:
        (found,) = select_by_id(builder.actor, literal_column(row_id, Uuid))
        is_type = literal_column(row_type) == literal_column(literal(option))
        row = builder.join(found.where(condition(is_written), is_type), table, true())
        is_it = Sql(f"{row['id']} IS NOT NULL")
        json, inner = builder.object(variants, replace(row, guard=is_it))
        cases.append(f"WHEN {is_it} THEN {json}")
        costs.append(f"({total(['1', *inner])} * ({is_it})::integer)")
    json = Sql(f"(CASE {' '.join(cases)} ELSE {literal(null)} END)") if cases else literal(null)
    return json, costs

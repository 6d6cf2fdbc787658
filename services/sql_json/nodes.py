"""Rows that may be of several tables: those that ids name, and the one that a row references."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import literal_column

from services.sql_json import shape
from services.sql_json.arguments import NodesArguments
from services.sql_json.fragments import Sql, literal
from services.sql_json.sources import RowSource, Written, total
from services.sql_json.templates import CONDITION, Selected, write_selects

if TYPE_CHECKING:
    from services.sql_json.builder import SelectBuilder


def write_rows(builder: "SelectBuilder", root: shape.Rows) -> tuple[Sql, Sql, Sql]:
    """Write rows by their ids; return the table of ids, the list's text and its cost besides one object."""
    given = builder.bound.arguments[root.name]
    assert isinstance(given, NodesArguments)
    ids = RowSource(builder.name())
    options = tuple(option for option in root.options if option[0] in given.options)
    json, costs = _write_options(builder, options, ids, ids["type"], "true")
    text = Sql(f"'[' || coalesce(string_agg({json}, ',' ORDER BY {ids['n']}), '') || ']'")
    sums = (f"coalesce(sum({cost}), 0)" for cost in costs)
    return given.rows(root.name, ids.name), text, Sql(" + ".join(["count(*) * 0", "-1", *sums]))


def write_node(builder: "SelectBuilder", value: shape.ToNode, row: RowSource, null: str) -> Written:
    """Write the row that one references, of whichever of the tables, or `null`."""
    json, costs = _write_options(
        builder, value.options, row, row[value.type_column], row.is_written, null=null
    )
    return [json], costs


def _write_options(
    builder: "SelectBuilder",
    options: shape.NodeOptions,
    row: RowSource,
    row_type: Sql,
    is_written: str,
    *,
    null: str = "null",
) -> tuple[Sql, list[str]]:
    """Join the tables of the types, and write the row of the one that has the id of `row`."""
    cases, costs = [], []
    for option, select_by_id, table, variants in options:
        selected = _select_option(
            builder, select_by_id, row, f"{row_type} = {literal(option)} AND {is_written}"
        )
        found = builder.join(selected, table)
        is_it = Sql(f"{found['id']} IS NOT NULL")
        json, inner = builder.object(variants, replace(found, guard=is_it))
        cases.append(f"WHEN {is_it} THEN {json}")
        costs.append(f"({total(['1', *inner])} * ({is_it})::integer)")
    json = Sql(f"(CASE {' '.join(cases)} ELSE {literal(null)} END)") if cases else literal(null)
    return json, costs


def _select_option(
    builder: "SelectBuilder", select_by_id: shape.SelectById, row: RowSource, condition: str
) -> Selected:
    def build(row: RowSource) -> tuple[Any]:
        (found,) = select_by_id(builder.actor, row.id_expression("id"))
        return (found.where(literal_column(CONDITION)),)

    (selected,) = write_selects((select_by_id, builder.kind), build, row, condition=condition)
    return selected

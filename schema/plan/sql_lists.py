"""Plans of lists: a page with its rows, edges, position and count, or rows by themselves."""

from typing import TYPE_CHECKING, Any

from graphql import FieldNode, GraphQLField, get_named_type, get_nullable_type, is_list_type

from schema.plan.collect_fields import NotCompilable
from schema.plan.cost_weights import FREE_TYPES, TOTAL_COUNT_COST
from services.sql_json import shape

if TYPE_CHECKING:
    from schema.plan.sql_backend import SqlPlanner


def is_list(definition: GraphQLField) -> bool:
    """Return True if a field lists objects, by themselves or in pages."""
    is_page = get_named_type(definition.type).name.endswith("Connection")
    return is_page or is_list_type(get_nullable_type(definition.type))


def plan_list(
    planner: "SqlPlanner",
    declared: shape.Selects,
    definition: GraphQLField,
    nodes: list[FieldNode],
    *,
    weight: int = 1,
) -> shape.List:
    """Plan a list of rows of a weight, with the selections and arguments of its field."""
    name = planner.parameter(definition, nodes, declared.arguments)
    named: Any = get_named_type(definition.type)
    if not named.name.endswith("Connection"):
        table, variants = planner.row(definition.type, selection_sets(nodes))
        weight = 0 if named.name in FREE_TYPES else weight
        return shape.List(name, declared, table, shape.Nodes(variants, weight))
    table, _ = planner.row_type(named.fields["nodes"].type)
    entries = tuple(
        (key, _entry(planner, named, children))
        for key, children in planner.fields(named, selection_sets(nodes)).items()
    )
    return shape.List(name, declared, table, entries, weight=weight)


def _entry(planner: "SqlPlanner", connection: Any, nodes: list[FieldNode]) -> Any:
    definition = connection.fields.get(name := nodes[0].name.value)
    match name:
        case "__typename":
            return shape.Constant(f'"{connection.name}"')
        case "nodes":
            return shape.Nodes(planner.row(definition.type, selection_sets(nodes))[1], 1)
        case "edges":
            return _edges(planner, get_named_type(definition.type), nodes)
        case "pageInfo":
            return _page_info(planner, get_named_type(definition.type), nodes)
        case "totalCount":
            planner.add_table()
            return shape.TotalCount(TOTAL_COUNT_COST)
    raise NotCompilable(f"{connection.name}.{name}")


def _edges(planner: "SqlPlanner", edge: Any, nodes: list[FieldNode]) -> shape.Edges:
    parts: list[Any] = []
    for key, children in planner.fields(edge, selection_sets(nodes)).items():
        match children[0].name.value:
            case "__typename":
                parts.append((key, shape.Constant(f'"{edge.name}"')))
            case "cursor":
                parts.append((key, "cursor"))
            case _:
                _, variants = planner.row(edge.fields["node"].type, selection_sets(children))
                parts.append((key, shape.Nodes(variants, 1)))
    return shape.Edges(tuple(parts))


def _page_info(planner: "SqlPlanner", page_info: Any, nodes: list[FieldNode]) -> shape.PageInfo:
    parts: list[Any] = []
    for key, children in planner.fields(page_info, selection_sets(nodes)).items():
        name = children[0].name.value
        parts.append((key, shape.Constant(f'"{page_info.name}"') if name == "__typename" else name))
    return shape.PageInfo(tuple(parts))


def selection_sets(nodes: list[FieldNode]) -> list[Any]:
    """Return the selections of a field's nodes."""
    return [node.selection_set for node in nodes if node.selection_set is not None]

"""Pieces of JSON from the columns of one row."""

from services.sql_json import shape
from services.sql_json.fragments import (
    ID_DELIMITER,
    POSITION_MARK,
    Piece,
    Sql,
    concatenate,
    literal,
    major_units,
    map_exponent,
    replace_null,
)
from services.sql_json.fragments import case as sql_case
from services.sql_json.sources import RowSource

_TIMESTAMP_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'


def write_column(value: shape.Value, row: RowSource, null: str) -> list[Piece]:
    """Write a value that depends on the columns of its row alone, as pieces that are never NULL."""
    match value:
        case shape.Constant(json):
            return [json]
        case shape.TypeName(names):
            return _type_name_pieces(names, row["type"])
        case shape.Amount():
            is_nullable = row.is_nullable(value.minor_column)
            if value.currency:
                columns = row[value.minor_column], literal(value.currency)
            else:
                columns = row[value.minor_column], row[value.currency_column]
                is_nullable = is_nullable or row.is_nullable(value.currency_column)
            return _amount_pieces(value, *columns, null if is_nullable else None)
        case shape.FirstOf(values):
            texts = [concatenate(_column_pieces(each, row[each.column])) for each in values]
            return [Sql(f"coalesce({', '.join([*texts, literal(null)])})")]
        case shape.Column("is_set", column):
            return [Sql(f"({row[column]} IS NOT NULL)::text")]
        case shape.Column() | shape.PublicId():
            pieces = _column_pieces(value, row[value.column])
            return replace_null(pieces, null, row.is_nullable(value.column))
    raise TypeError(value)


def _column_pieces(value: shape.Column | shape.PublicId, column: Sql) -> list[Piece]:
    """Write the value of a column that is not NULL."""
    if isinstance(value, shape.PublicId):
        row_id = f"lpad(to_hex({column}), 32, '0')" if value.is_number else f"{column}::text"
        return [f'"{ID_DELIMITER}{value.type_name} ', Sql(row_id), f'{ID_DELIMITER}"']
    match value.encoding:
        case "text":
            return [Sql(f"to_json({column})::text")]
        case "number" | "json":
            return [Sql(f"{column}::text")]
        case "timestamp":
            column = format_timestamp(column)
        case "date":
            column = Sql(f"to_char({column}, 'YYYY-MM-DD')")
        case "decimal":
            column = Sql(f"{column}::text")
    return ['"', column, '"']


def write_position(row: RowSource) -> Sql:
    """Write what the position of a snapshot is made of."""
    start = f'"{ID_DELIMITER}{POSITION_MARK}'
    return concatenate([start, row["snapshot"], " ", row["timeline"], f'{ID_DELIMITER}"'])


def format_timestamp(column: str) -> Sql:
    """Write a timestamp in UTC with microseconds."""
    return Sql(f"to_char(timezone('UTC', {column}), {literal(_TIMESTAMP_FORMAT)})")


def type_condition(column: str, types: tuple[str, ...]) -> Sql:
    """Test the column `type` of a row."""
    return Sql(f"{column} IN ({', '.join(map(literal, types))})")


def _type_name_pieces(names: tuple[tuple[str, str], ...], column: str) -> list[Piece]:
    """Write the name of a row's GraphQL type."""
    cases = " ".join(f"WHEN {column} = {literal(value)} THEN {literal(name)}" for value, name in names)
    return ['"', Sql(f"CASE {cases} END"), '"']


def _amount_pieces(value: shape.Amount, minor: Sql, currency: Sql, null: str | None) -> list[Piece]:
    """Write an amount, or `null` if a column is NULL; without it, none can be."""
    pieces: list[Piece] = ["{"]
    for i, (key, part) in enumerate(value.parts):
        pieces.append(f'{"," if i else ""}"{key}":')
        match part:
            case shape.Constant(json):
                pieces.append(json)
            case "value":
                pieces += ['"', major_units(minor, currency), '"']
            case "currency":
                pieces += ['"', currency, '"']
            case "minor_units":
                pieces += ['"', Sql(f"{minor}::text"), '"']
            case "exponent":
                pieces.append(Sql(f"{map_exponent(currency, str)}::text"))
    pieces.append("}")
    if null is None:
        return pieces
    return [sql_case(f"{minor} IS NULL OR {currency} IS NULL", null, concatenate(pieces))]

"""The arguments of a row or a list in one execution: what changes the statement's text, and its values."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Select, Text, Uuid, bindparam, literal_column, select
from sqlalchemy.sql.type_api import TypeEngine
from sqlmodel import col

from models import Collective, now
from services.access.actor import Actor
from services.collectives import directory
from services.collectives.directory import CollectiveRow
from services.core import pagination
from services.core.pagination import PageRequest, Sort
from services.round_trips.dialect import PARAMETER_MARK
from services.sql_json.fragments import Sql
from services.sql_json.templates import CONDITION, LIMIT, PREFIX, REFERENCED, Selected, write_selects

_TYPES: dict[type, TypeEngine[Any]] = {UUID: Uuid(), datetime: DateTime(timezone=True), str: Text()}
"""Types of the conditions' values that are parameters."""
_WRITTEN = (Enum, bool, int, NoneType)
"""Types of those that are written into the text, also as items of a list."""


@dataclass(frozen=True)
class Reference:
    """A collective that a condition names by id or slug; there must be one that the viewer may see."""

    key: UUID | str
    is_readable: Callable[[Actor, Any], Any] | None = None
    """Builds what the viewer must also be allowed, from the viewer and the collective's columns."""


@dataclass(frozen=True)
class RowId:
    """The id of one row."""

    id: UUID


@dataclass(frozen=True)
class Unconditional:
    """No conditions."""


@dataclass(frozen=True)
class ListArguments:
    """What a field selects: the conditions, and for a list its order and page."""

    select: Callable[..., tuple[Select[Any], ...]]
    """Selects the rows, as `select(actor, where=…, owner=…)`; a list in several parts that share no row."""
    where: Any
    """The conditions, as a dataclass."""
    sort: Sort | None = None
    """None for a single row."""
    page: PageRequest | None = None
    """None for a single row or a whole list."""
    option: str = ""
    """The type of a single row that may be of several tables."""

    def __post_init__(self) -> None:
        """Order lists of conditions and drop repeats: they are sets, and part of the statement's text."""
        ordered = {
            name: tuple(sorted(set(value)))
            for name, value in vars(self.where).items()
            if isinstance(value, list | tuple)
        }
        if ordered:
            object.__setattr__(self, "where", replace(self.where, **ordered))

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        return self.rows_key, self.page and self.page.size

    @property
    def rows_key(self) -> Hashable:
        """The part that changes the text of what selects the rows, but for their number."""
        conditions = tuple((name, _text_part(value)) for name, value in vars(self.where).items())
        keyset = self.page and pagination.keyset_name(self.page)
        return self.select, conditions, self.sort and self.sort.name, keyset

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters.

        Raises:
            Invalid: the cursor is not one of this list.
        """
        values = {
            f"{prefix}_{name}": value.key if isinstance(value, Reference) else value
            for name, value in vars(self.where).items()
            if _is_parameter(value)
        }
        if self.page is not None and self.page.cursor is not None:
            assert self.sort is not None
            values[f"{prefix}_after_key"], values[f"{prefix}_after_id"] = pagination.decode_cursor(
                self.page.cursor, self.sort, field=self.page.cursor_field
            )
        return values

    def references(self, actor: Actor, kind: str, prefix: str) -> dict[str, Selected]:
        """Select the id of each collective that a condition names, by condition."""
        return {
            name: write_selects(
                ("reference", name, _text_part(value), kind),
                partial(_select_referenced, actor, value, f"{PREFIX}_{name}"),
                prefix=prefix,
            )[0]
            for name, value in vars(self.where).items()
            if isinstance(value, Reference)
        }

    def select_rows(
        self, actor: Actor, owner: Any, *, has_condition: bool, is_paged: bool
    ) -> list[Select[Any]]:
        """Select the rows, those of a list with their sort key as `sort_key`; names are stand-ins.

        `is_paged` limits them to a page, in its order.
        """
        parts = self.select(actor, where=self._conditions(), owner=owner)
        if has_condition:
            parts = tuple(part.where(literal_column(CONDITION)) for part in parts)
        return [self._with_sort_key(part, is_paged=is_paged) for part in parts]

    def _conditions(self) -> Any:
        """Return the conditions with parameters as values; those of references are columns of a table."""
        return replace(
            self.where,
            **{
                name: literal_column(f"{REFERENCED}.{name}", Uuid)
                if isinstance(value, Reference)
                else _parameter(f"{PREFIX}_{name}", value)
                for name, value in vars(self.where).items()
                if _is_parameter(value)
            },
        )

    def _with_sort_key(self, part: Select[Any], *, is_paged: bool) -> Select[Any]:
        sort, page = self.sort, self.page
        if sort is None:
            return part
        keyed = part.add_columns(sort.key.label("sort_key"))
        if page is not None and "id" not in part.selected_columns:
            keyed = keyed.add_columns(sort.id.label("id"))
        if page is None or not is_paged:
            return keyed
        cursor = None
        if page.cursor is not None:
            cursor = (
                bindparam(f"{PREFIX}_after_key", None, type_=sort.key.type),
                bindparam(f"{PREFIX}_after_id", None, type_=Uuid),
            )
        return pagination.start_at(keyed, sort, cursor, literal_column(LIMIT), is_backward=page.is_backward)


@dataclass(frozen=True)
class NodesArguments:
    """The types and ids of rows of several tables, in the order of the answer."""

    ids: tuple[tuple[str, UUID], ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The types that the ids are of."""
        return tuple(sorted({option for option, _ in self.ids}))

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        return self.options

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters. Types become an array's text: their names are letters."""
        types = ",".join(option for option, _ in self.ids)
        return {f"{prefix}_ids": [row_id for _, row_id in self.ids], f"{prefix}_types": f"{{{types}}}"}

    def rows(self, prefix: str, name: str) -> Sql:
        """Write the table `name` of ids and types, numbered."""
        ids, types = (f"{PARAMETER_MARK}{prefix}_{each}{PARAMETER_MARK}" for each in ("ids", "types"))
        return Sql(f"unnest({ids}::uuid[], {types}::text[]) WITH ORDINALITY AS {name}(id, type, n)")


@dataclass(frozen=True)
class BalanceArguments:
    """The currency and the moment of a balance."""

    currency: str
    as_of: datetime | None
    """None for now."""

    @property
    def key(self) -> Hashable:
        """The part that changes the statement's text."""
        return self.as_of is None

    def values(self, prefix: str) -> dict[str, Any]:
        """Return the values of the parameters."""
        return {f"{prefix}_currency": self.currency, f"{prefix}_as_of": self.as_of or now()}


def _is_parameter(value: Any) -> bool:
    return isinstance(value, Reference) or type(value) in _TYPES


def _text_part(value: Any) -> Hashable:
    if isinstance(value, Reference):
        return "reference", type(value.key).__name__, value.is_readable
    if type(value) in _TYPES:
        return type(value).__name__, "parameter"
    items = tuple(value) if isinstance(value, list | tuple) else (value,)
    # Whatever else a client sends is refused here, before it becomes a part of the text.
    assert all(isinstance(item, _WRITTEN) for item in items), type(value)
    return items if isinstance(value, list | tuple) else value


def _parameter(name: str, value: Any) -> Any:
    return bindparam(name, value, type_=_TYPES[type(value)])


def _select_referenced(actor: Actor, reference: Reference, name: str) -> tuple[Select[Any]]:
    key = reference.key
    parameter = _parameter(name, key)
    row = CollectiveRow(id=parameter) if isinstance(key, UUID) else CollectiveRow(slug=parameter)
    (found,) = directory.select_by_ref(actor, where=row)
    if reference.is_readable is None:
        return (found.with_only_columns(col(Collective.id)),)
    collective = found.subquery()
    return (select(collective.c.id).where(reference.is_readable(actor, collective.c)),)

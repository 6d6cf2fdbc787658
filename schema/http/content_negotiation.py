"""Which media type a client would have, of those that there are: the header Accept, to the letter."""

import re
from functools import lru_cache

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
HTML = "text/html"
EVENTS = "text/event-stream"
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


@lru_cache(maxsize=256)
def chosen(header: str) -> str | None:
    """Return the type of the answer, or None where the client takes neither.

    Without a wish, and where both are as welcome, it is `application/json` unless only the other is named.
    """
    if not header.strip():
        return JSON
    wishes = _wishes(header)
    best = max((JSON, GRAPHQL), key=lambda kind: (quality(wishes, kind), kind in wishes, kind == JSON))
    return best if quality(wishes, best) > 0 else None


def wants_page(header: str) -> bool:
    """Tell whether a browser asks: HTML is named, and no kind of JSON is liked better."""
    wishes = _wishes(header)
    html = wishes.get(HTML, 0)
    return html > 0 and html >= max(quality(wishes, JSON), quality(wishes, GRAPHQL))


def wants_events(header: str, *, is_subscription: bool) -> bool:
    """Tell whether the answers are to be a stream of events: named, and liked best or the only way."""
    wishes = _wishes(header)
    liked = wishes.get(EVENTS, 0)
    if is_subscription:
        return liked > 0
    return liked > max(quality(wishes, JSON), quality(wishes, GRAPHQL))


def takes_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding takes gzip."""
    wishes = _wishes(header)
    return wishes.get("gzip", wishes.get("*", 0)) > 0


def quality(wishes: dict[str, float], kind: str) -> float:
    """Return how welcome a type is, from 0 to 1: the closest range counts."""
    for name in (kind, kind.partition("/")[0] + "/*", "*/*"):
        if name in wishes:
            return wishes[name]
    return 0


@lru_cache(maxsize=256)
def _wishes(header: str) -> dict[str, float]:
    """Return each range with its weight; one whose weight is none is left out. Clients send few."""
    wishes: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p.partition("=")[2].strip() for p in parameters if p.startswith("q=")), "1")
        if name and _WEIGHT.fullmatch(weight):
            wishes[name] = max(float(weight), wishes.get(name, 0))
    return wishes

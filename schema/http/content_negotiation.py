"""Content negotiation: choose the media type of a response from the Accept header."""

import re
from functools import lru_cache

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
HTML = "text/html"
EVENTS = "text/event-stream"
_WEIGHT = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


@lru_cache(maxsize=256)
def negotiate(header: str) -> str | None:
    """Return the media type of the response, or None if the client accepts neither.

    Without a header, and on a tie, that is `application/json`, unless only the other type is named.
    """
    if not header.strip():
        return JSON
    weights = _weights(header)
    best = max(
        (JSON, GRAPHQL),
        key=lambda media_type: (quality(weights, media_type), media_type in weights, media_type == JSON),
    )
    return best if quality(weights, best) > 0 else None


def wants_page(header: str) -> bool:
    """Return True for a browser: HTML is named, and no JSON type is preferred to it."""
    weights = _weights(header)
    html = weights.get(HTML, 0)
    return html > 0 and html >= max(quality(weights, JSON), quality(weights, GRAPHQL))


def wants_events(header: str, *, is_subscription: bool) -> bool:
    """Return True if the client names event streams, and prefers them or needs one for a subscription."""
    weights = _weights(header)
    events = weights.get(EVENTS, 0)
    if is_subscription:
        return events > 0
    return events > max(quality(weights, JSON), quality(weights, GRAPHQL))


def accepts_gzip(header: str) -> bool:
    """Return True if an Accept-Encoding header accepts gzip."""
    weights = _weights(header)
    return weights.get("gzip", weights.get("*", 0)) > 0


def quality(weights: dict[str, float], media_type: str) -> float:
    """Return the weight of a media type, from 0 to 1; the most specific range counts."""
    for media_range in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if media_range in weights:
            return weights[media_range]
    return 0


@lru_cache(maxsize=256)
def _weights(header: str) -> dict[str, float]:
    """Return the weight of each media range, without those whose weight is malformed.

    Cached because clients send few different headers.
    """
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = next((p.partition("=")[2].strip() for p in parameters if p.startswith("q=")), "1")
        if name and _WEIGHT.fullmatch(weight):
            weights[name] = max(float(weight), weights.get(name, 0))
    return weights

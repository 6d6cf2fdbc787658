"""A client of the API that knows of each mutation whether it was acknowledged, refused, or unknown."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

UNKNOWN = {"UNAVAILABLE", "TIMEOUT"}
"""Top-level codes after which a client cannot tell whether the mutation ran."""
ATTEMPTS = 60
"""Times that an unknown outcome is asked for again, half a second apart."""


@dataclass
class Call:
    """A mutation with its key, and what was answered."""

    mutation: str
    token: str
    arguments: dict[str, Any]
    fields: str = "order { id }"
    result: dict[str, Any] | None = None
    """The payload of the acknowledged call; None if it was refused."""
    code: str = ""
    """The code of the refusal."""
    unknowns: int = 0
    """Answers that left the outcome open."""

    @property
    def body(self) -> dict[str, Any]:
        """The GraphQL request."""
        name = self.mutation[0].upper() + self.mutation[1:]
        payload = f"{{ {self.fields} errors {{ code }} }}"
        query = f"mutation($i: {name}Input!) {{ {self.mutation}(input: $i) {payload} }}"
        return {"query": query, "variables": {"i": self.arguments}}


@dataclass
class ApiClient:
    """Sends mutations; keeps every settled call."""

    http: httpx.AsyncClient
    calls: list[Call] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    """Answers by code; OK for an acknowledgement."""

    async def settle(self, call: Call, *, copies: int = 1) -> dict[str, Any] | None:
        """Send a call, at once in several copies, until its outcome is known; one key has one result."""
        answers = await asyncio.gather(*(self._until_known(call) for _ in range(copies)))
        results = [payload for payload, _ in answers if payload is not None]
        assert all(result == results[0] for result in results), (call, answers)
        call.result, call.code = (results[0], "") if results else (None, answers[0][1])
        self.calls.append(call)
        self.codes[f"{call.mutation} {call.code or 'OK'}"] += 1
        return call.result

    async def _until_known(self, call: Call) -> tuple[dict[str, Any] | None, str]:
        for _ in range(ATTEMPTS):
            payload, code = await self.send(call)
            if code not in UNKNOWN:
                return payload, code
            call.unknowns += 1
            self.codes[f"unknown {code}"] += 1
            await asyncio.sleep(0.5)
        message = f"no answer: {call}"
        raise AssertionError(message)

    async def send(self, call: Call) -> tuple[dict[str, Any] | None, str]:
        """Send a call once; return its payload if it was acknowledged, and the code."""
        headers = {"Authorization": f"Bearer {call.token}"}
        try:
            answer = await self.http.post("/graphql", json=call.body, headers=headers)
        except httpx.TransportError:
            return None, "UNAVAILABLE"
        body = answer.json()
        if "errors" in body:
            code = str(body["errors"][0]["extensions"]["code"])
            assert code != "INTERNAL_SERVER_ERROR", (call, body)
            return None, code
        payload: dict[str, Any] = body["data"][call.mutation]
        if payload["errors"]:
            return None, str(payload["errors"][0]["code"])
        return payload, ""

"""An incognito gift, those who look at it, and queries by every way in which they are run."""

import json
from dataclasses import dataclass, replace
from typing import Any

from schema.execution import unit_of_work
from tests.donation_world import DonationScene, expect_order
from tests.factories import Person, World, money, ref

KNOWING = ("giver", "host_admin", "platform_admin")
"""Those who may know the giver."""
SUBSCRIBED = "subscription { id status isIncognito from { slug } createdBy { slug } }"
OTHERS = ("anonymous", "stranger", "payee_admin")


@dataclass
class IncognitoScene:
    """xdamman, a person, gives to babel at the host opensource."""

    donations: DonationScene
    viewers: dict[str, Person | None]

    @classmethod
    async def create(cls, world: World) -> "IncognitoScene":
        """Create the people and collectives, and fund the giver."""
        scene = await DonationScene.among_others(world)
        await world.fund(scene.payee.user, "500.00", by=world.admin)
        viewers = {
            "anonymous": None,
            "stranger": await world.person("stranger" + scene.suffix),
            "payee_admin": scene.friend,
            "giver": scene.payee,
            "host_admin": scene.holder,
            "platform_admin": world.admin,
        }
        return cls(scene, viewers)

    @property
    def world(self) -> World:
        """The world of the scene."""
        return self.donations.world

    @property
    def giver(self) -> Person:
        """The person who gives."""
        return self.donations.payee

    async def give(self, value: str = "10.00", **more: Any) -> str:
        """Give incognito from the balance to babel by default; return the order's id."""
        more = {"isIncognito": True} | more
        return expect_order(
            await self.donations.donate(value, by=self.giver, from_=more.pop("from_", self.giver), **more)
        )

    async def see(self, query: str, viewer: str, **variables: Any) -> dict[str, Any]:
        """Run a query as a viewer in each way in which queries are run; they give one answer."""
        answers = [
            await self.answer(query, viewer, variables, compiled=compiled) for compiled in (False, True, True)
        ]
        assert all(answer == answers[0] for answer in answers), answers
        assert "errors" not in answers[0], answers[0]
        data: dict[str, Any] = answers[0]["data"]
        return data

    async def answer(self, query: str, viewer: str, variables: dict[str, Any], *, compiled: bool) -> Any:
        """Run a query as a viewer in one of the ways in which queries are run."""
        person = self.viewers[viewer]
        request = unit_of_work.OperationRequest(
            query=query,
            variables=variables,
            token=person.token if person else None,
            address="test",
        )
        settings = replace(self.world.settings, compiled_queries=compiled)
        answer = await unit_of_work.execute(request, sessions=self.world.sessions, settings=settings)
        return answer.plain_body()


def names(scene: IncognitoScene, data: Any) -> bool:
    """True if an answer names the giver."""
    return scene.giver.slug in json.dumps(data)


async def begin(scene: IncognitoScene, **more: Any) -> str:
    """Begin a monthly gift; return its id."""
    payload = await scene.world.mutate(
        "donate",
        SUBSCRIBED,
        by=scene.giver,
        to=ref(scene.donations.babel),
        amount=money("10.00"),
        **({"from": ref(scene.giver), "interval": "MONTH", "isIncognito": True} | more),
    )
    assert payload["errors"] == [], payload
    return str(payload["subscription"]["id"])

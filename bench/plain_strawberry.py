"""The same schema on Strawberry's own ASGI application: `python -m bench.plain_strawberry [--caches]`.

Its context has the same session, snapshot and loaders as ours; parsing, validation, execution and HTTP are
the package's own, set up as its documentation shows. The database is that of COMMONWEAL_DATABASE_URL.
"""

import argparse
import asyncio
import socket

import strawberry
import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from resolvers.context import Context
from schema.build import Mutation
from schema.types.collective import Business, Community, Event, Nonprofit
from schema.types.errors import MutationError
from schema.types.query import Query
from schema.types.scalars import SCALARS
from schema.types.user import User
from services.core.settings import Settings, load
from services.database import engine


class Plain(GraphQL[Context, None]):
    """Strawberry's application, with our context for each request."""

    def __init__(self, schema: strawberry.Schema, settings: Settings) -> None:
        """Keep the settings and the session factory for the contexts."""
        super().__init__(schema, graphql_ide=None)
        self._settings = settings
        self._sessions: async_sessionmaker[AsyncSession] = engine.session_factory(
            engine.create_pool(settings)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and end its database transaction."""
        scope["ours"] = Context(sessions=self._sessions, settings=self._settings)
        try:
            await super().__call__(scope, receive, send)
        finally:
            await scope["ours"].close()

    async def get_context(
        self,
        request: Request | WebSocket,
        response: Response | WebSocket,  # noqa: ARG002 - Strawberry passes it by name
    ) -> Context:
        """Return the context of the request."""
        ours: Context = request.scope["ours"]
        return ours


def plain_schema(*, caches: bool) -> strawberry.Schema:
    """Return the types of our schema without any of our extensions."""
    return strawberry.Schema(
        query=Query,
        mutation=Mutation,
        types=[User, Community, Nonprofit, Business, Event, MutationError],
        extensions=[ParserCache, ValidationCache] if caches else [],
        config=StrawberryConfig(scalar_map=SCALARS),
    )


async def _serve(*, caches: bool) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    print(f"Plain Strawberry at http://{host}:{port}/graphql", flush=True)
    application = Plain(plain_schema(caches=caches), load())
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False))
    await server.serve([listening])


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="bench.plain_strawberry", description=__doc__)
    parser.add_argument("--caches", action="store_true", help="with its ParserCache and ValidationCache")
    arguments = parser.parse_args()
    factory = uvicorn.Config(Plain).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_serve(caches=arguments.caches))


if __name__ == "__main__":
    main()

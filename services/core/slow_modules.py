"""Modules whose libraries load slowly, and which most servers never need: loaded when first used."""

import asyncio
from importlib import import_module
from types import ModuleType


async def load(name: str) -> ModuleType:
    """Return a module, loaded in a thread, so that other requests go on meanwhile."""
    return await asyncio.to_thread(import_module, name)

"""Queries compiled to Python: list at a time, one call a relation for the whole list, leaves inlined.

What it answers is what graphql-core answers, or it gives up: `GiveUp` says that the query is to be run there.
It gives up at every error, for errors and their paths are graphql-core's to tell.
"""

from schema.plan.compiled_query import GiveUp, Program, program_of, run, variables_of, writing_of

__all__ = ["GiveUp", "Program", "program_of", "run", "variables_of", "writing_of"]

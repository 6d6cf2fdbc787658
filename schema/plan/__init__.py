"""Plans of operations: what PostgreSQL writes as JSON in one statement, and what a mutation's payload holds.

What is planned returns what graphql-core would, or raises `FallBack`; then graphql-core runs the operation.
It falls back at every error, because errors and their paths are graphql-core's to report.
"""

from schema.plan.leaves import FallBack
from schema.plan.query_plan import coerce_variables, plan_query, prepare_json_read, run_json

__all__ = ["FallBack", "coerce_variables", "plan_query", "prepare_json_read", "run_json"]

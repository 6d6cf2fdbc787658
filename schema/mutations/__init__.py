"""The root of mutations, one module a subject."""

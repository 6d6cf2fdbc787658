"""Documents that would cost more to read than they are worth, for tests and `python -m bench documents`."""

from schema.documents import document_cache, token_count


def many(count: int, text: str) -> str:
    """Repeat a text with its number in the place of `%`."""
    return " ".join(text.replace("%", str(i)) for i in range(count))


def spreads(levels: int, body: str) -> str:
    """Return fragments of which each spreads the next one twice."""
    return (
        " ".join(
            f"fragment f{i} on Collective {{ {body.replace('%', f'...f{i + 1}')} }}" for i in range(levels)
        )
        + f" fragment f{levels} on Collective {{ id }}"
    )


FIFTY = many(50, "...f%")
HOSTILE = {
    "a document of 1 MB": "{ " + "a " * 500_000 + "}",
    "one token too many": "{ " + "a " * (token_count.MAX_TOKENS - 1) + "}",
    "2,001 tokens": "{ " + "a " * 1_999 + "}",
    "nested 5,000 times": "{ me" * 5_000,
    "20,000 lists in each other": f"{{ node(id: {'[' * 20_000}",
    "20,000 lists side by side": f"{{ node(id: [{'[] ' * 700}]) }}",
    "101 aliases": f"{{ {many(101, 'a%: __typename')} }}",
    "1,000 aliases": f"{{ {many(1_000, 'a%:__typename')} }}",
    "aliases below the root": f"{{ me {{ {many(31, 'a%: id')} }} }}",
    "21 fields at the root": f"{{ {many(21, 'a%: __typename')} }}",
    "21 fields at the root by fragments": (
        "{ ...a ...a ...a } fragment a on Query { " + many(7, "a%: __typename") + " }"
    ),
    "500 times the same name": f"{{ {'__typename ' * 500} }}",
    "the same object all over": f"{{ {'me { id } ' * 350} }}",
    "the same object in inline fragments": f"{{ {'... { me { id } } ' * 200} }}",
    "the same names in 49 fragments": (
        f"{{ me {{ {many(30, '...f%')} }} }} "
        + many(30, "fragment f% on User { " + " ".join(f"x{i}" for i in range(40)) + " }")
    ),
    "the same names in fragments that nobody spreads": (
        "{ __typename } " + many(49, f"fragment f% on Query {{ {'me { id } ' * 6} }}")
    ),
    "51 directives": f"{{ __typename {'@include(if: true) ' * 51} }}",
    "1,000 directives": f"{{ __typename {'@include(if: true) ' * 1_000} }}",
    "10 unknown directives": f"{{ __typename {'@aa' * 10} }}",
    "directives on an operation": f"query Q {'@aa' * 6} {{ __typename }}",
    "fragments that double 25 times at the root": (
        "{ ...f0 } " + many(25, "fragment f% on Query { ...f% ...f% }") + " fragment f25 on Query { id }"
    ),
    "fragments that double 25 times": ("{ platformPolicy { createdBy { ...f0 } } } " + spreads(25, "% %")),
    "fragments with aliases that double 11 times": (
        '{ collective(slug: "a") { ...f0 } } ' + spreads(11, "a: host { % } b: host { % }")
    ),
    "fragments with aliases that double 40 times": (
        '{ collective(slug: "a") { ...f0 } } ' + spreads(40, "a: host { % } b: host { % }")
    ),
    "doubling fragments that nobody spreads": "{ __typename } " + spreads(40, "a: host { % } b: host { % }"),
    "doubling fragments of equal names that nobody spreads": (
        "{ __typename } " + spreads(40, "host { % } parent { % }")
    ),
    "circular fragments": "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }",
    "a fragment in itself": "{ ...a } fragment a on Query { ...a }",
    "a circle below a field": (
        '{ collective(slug: "a") { ...a } } fragment a on Collective { host { ...b } } '
        "fragment b on Collective { parent { ...a } }"
    ),
    "51 fragments": f"{{ __typename }} {many(51, 'fragment f% on Query { __typename }')}",
    "11 operations": many(11, "query Q% { __typename }"),
    "201 unknown fragments": f"{{ me {{ {many(101, '...f%')} }} a: me {{ {many(100, '...f%')} }} }}",
    "700 unknown fragments": f"{{ me {{ {many(700, '...f%')} }} }}",
    "1,300 unknown fields": f"{{ me {{ {many(1_300, 'colective%')} }} }}",
    "unknown fields with fields": f"{{ {many(20, 'colectives% { a b c d e f g }')} }}",
    "13 fields deep": "{ me { " + "host { " * 11 + "id" + " }" * 13,
    "13 fields deep by fragments": ('{ collective(slug: "a") { ...f0 } } ' + spreads(11, "host { % }")),
    "introspection in circles": (
        "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } }"
        " }"
    ),
    "introspection in circles by a fragment": (
        '{ __type(name: "Query") { fields { type { ...f } } } } '
        "fragment f on __Type { fields { type { fields { type { fields { name } } } } } }"
    ),
    "300 variables": f"query({many(300, '$a%: Int')}) {{ me {{ id }} }}",
    "variables that nobody uses": many(9, f"query Q% ({many(38, '$a%: Int')}) {{ me {{ id }} }}"),
    "400 arguments": f"{{ node({many(360, 'a%: 1')}) {{ id }} }}",
    "400 fields of an object": f"{{ collectives(filter: {{ {many(360, 'a%: 1')} }}) {{ totalCount }} }}",
    "200 wrong values": f"{{ nodes(ids: [{'{a: 1} ' * 280}]) {{ id }} }}",
    "an unfinished text": '{ node(id: "' + "\\n" * 9_900,
    "quotes": '"""' * 6_000,
    "mutations that sign in": (
        "mutation { " + many(20, 'a%: signIn(input: {email: "a", password: "%"}) { errors { code } }') + " }"
    ),
    "two that sign in, one by a fragment": (
        'mutation { signIn(input: {email: "a", password: "b"}) { errors { code } } ...f } '
        'fragment f on Mutation { a: signIn(input: {email: "a", password: "c"}) { errors { code } } }'
    ),
}


def refused_anew(text: str) -> document_cache.CachedDocument:
    """Read a document as if it was never met."""
    document_cache.clear_refused()
    prepared = document_cache.prepare(text)
    assert prepared.document is None
    return prepared

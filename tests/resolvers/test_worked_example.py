"""The worked example of docs/ledger.md, to the cent, with all its postings."""

from tests.factories import World, money, ref


async def test_webpack_donates_100_euros_to_wwcodeberlin(world: World) -> None:
    giver, holder = await world.person("webpack-admin"), await world.person("wwcode-admin")
    opensource = await world.host("opensource", holder)
    wwcode = await world.host("wwcode", holder, fee_bps=500)
    webpack = await world.community("webpack", opensource, giver)
    berlin = await world.community("wwcodeberlin", wwcode, currency="EUR")
    await world.fund(webpack, "200.00", by=holder)
    await world.platform_fee(500)
    await world.rate("EUR", "USD", "1.1481")
    method = await world.mutate(
        "createPaymentMethod",
        "paymentMethod { id }",
        by=holder,
        host=ref(wwcode),
        name="Card",
        type="BALANCE",
        feeBps=290,
        feeFixed=money("0.30"),
    )

    payload = await world.mutate(
        "donate",
        """order { status transactions {
            amount { minorUnits currency } fxRate fromHostFxRate
            paymentProcessorFeeInHostCurrency { minorUnits currency }
            platformFeeInHostCurrency { minorUnits } hostFeeInHostCurrency { minorUnits }
            toHostAmount { minorUnits currency } toCollectiveAmount { minorUnits currency }
            fromHostAmount { minorUnits currency } fromCollectiveAmount { minorUnits currency }
            postings { amount { minorUnits currency } account { kind owner { slug } book { slug } } }
        } }""",
        by=giver,
        **{"from": ref(webpack)},
        to=ref(berlin),
        amount=money("100.00", "EUR"),
        paymentMethod=method["paymentMethod"]["id"],
    )

    assert payload["errors"] == []
    assert payload["order"]["status"] == "PAID"
    (transactions,) = payload["order"]["transactions"]
    postings = transactions.pop("postings")
    assert transactions == {
        "amount": {"minorUnits": "10000", "currency": "EUR"},
        "fxRate": "1.1481",
        "fromHostFxRate": "1.1481",
        "paymentProcessorFeeInHostCurrency": {"minorUnits": "363", "currency": "USD"},
        "platformFeeInHostCurrency": {"minorUnits": "574"},
        "hostFeeInHostCurrency": {"minorUnits": "574"},
        "toHostAmount": {"minorUnits": "10544", "currency": "USD"},
        "toCollectiveAmount": {"minorUnits": "8684", "currency": "EUR"},
        "fromHostAmount": {"minorUnits": "-11481", "currency": "USD"},
        "fromCollectiveAmount": {"minorUnits": "-11481", "currency": "USD"},
    }
    assert {
        (
            p["account"]["book"]["slug"],
            p["account"]["owner"]["slug"],
            p["account"]["kind"],
            p["amount"]["currency"],
            int(p["amount"]["minorUnits"]),
        )
        for p in postings
    } == {
        ("opensource", "webpack", "BALANCE", "USD", -11481),
        ("opensource", "wwcode", "CLEARING", "USD", 11481),
        ("wwcode", "opensource", "CLEARING", "USD", -11481),
        ("wwcode", "wwcode", "CASH", "USD", 363),
        ("wwcode", "commonweal", "BALANCE", "USD", 574),
        ("wwcode", "wwcode", "BALANCE", "USD", 574),
        ("wwcode", "wwcode", "EXCHANGE", "USD", 9970),
        ("wwcode", "wwcode", "EXCHANGE", "EUR", -8684),
        ("wwcode", "wwcodeberlin", "BALANCE", "EUR", 8684),
    }
    assert await world.balance(berlin) == (8684, 0)
    assert await world.balance(webpack) == (20000 - 11481, 0)
    await world.assert_clean_ledger()

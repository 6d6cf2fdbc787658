"""Files in another currency than the collective's or its host's."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from services.core.errors import FxRateUnavailable
from services.ledger import audit
from services.ledger.exchange_rates import add_rate
from tests.open_collective_files import (
    START,
    Sessions,
    create_organization,
    csv_row,
    donation,
    expect_import_problem,
    host_fee,
    import_csv,
    load_transactions,
    running_balances,
    write_csv,
)


async def test_a_file_in_another_currency_needs_to_be_told(sessions: Sessions, tmp_path: Path) -> None:
    async with sessions() as session:
        await create_organization(session, "platform", is_platform=True)
        await create_organization(session, "opensource", "EUR")
        await session.commit()
    path = write_csv(tmp_path, [donation(), host_fee()], currency="EUR")
    report = await import_csv(sessions, path)
    assert report.balance.text == "9.00"
    dollars = write_csv(tmp_path, [donation()], currency="USD")
    message = await expect_import_problem(sessions, dollars, collective_slug="dollars")
    assert message.startswith("Line 2, currency: 'USD'") and "--amounts-in" in message


async def test_a_file_may_be_in_another_currency_than_the_hosts(hosted: Sessions, tmp_path: Path) -> None:
    """Balances are those of the file to the cent; the host's books have the rates of the days."""
    async with hosted.begin() as session:
        for day, rate in ((1, "1.1"), (4, "1.2"), (7, "1.3")):
            await add_rate(
                session,
                base="EUR",
                target="USD",
                rate=Decimal(rate),
                valid_from=START + timedelta(days=day),
                source="ECB",
            )
    group = {"shortGroup": "one"}
    rows = [
        donation("10", fee="-0.33", net="8.67"),
        donation("0.99", **group),
        host_fee("-0.11", **group),
        csv_row("EXPENSE", "-3.33", fee="-0.07"),
    ]
    path = write_csv(tmp_path, rows, currency="EUR")
    report = await import_csv(hosted, path, amounts_in="EUR", is_strict=True)
    assert await running_balances(hosted, "webpack") == [867, 966, 955, 615]
    assert report.balance.currency == "EUR"
    (first, *_) = await load_transactions(hosted)
    assert (first.currency, first.host_currency, first.fx_rate) == ("EUR", "USD", Decimal("1.1"))
    assert (first.gross, first.payment_processor_fee, first.host_fee) == (1100, 36, 110)
    await load_all_balances_of_zero(hosted)
    late = write_csv(tmp_path, [donation(datetime="2021-01-01T00:00:00")], currency="EUR")
    with pytest.raises(FxRateUnavailable):
        await import_csv(hosted, late, amounts_in="EUR", collective_slug="other")


async def load_all_balances_of_zero(sessions: Sessions) -> None:
    """Require that every book and currency sums to zero, as the audit sees it."""
    async with sessions() as session:
        outcome = await audit.run_audit(session)
    assert [check for check in outcome.checks if check.violations] == []

"""The process of `tests.stripe_server`: localstripe, with what it lacks of Stripe.

It lacks connected accounts, fees, idempotency keys, refusals of refunds, and automatic payment methods.
"""

import asyncio
import hashlib
from typing import Any

from aiohttp import web
from localstripe import resources
from localstripe.errors import UserError

FEE_BPS, FEE_FIXED_UNITS = 290, 30
EXTRAS = ("automatic_payment_methods", "description", "setup_future_usage", "return_url")
"""Parameters of a payment that it does not know, and that change nothing here."""
ACCOUNTS: dict[str, dict[str, Any]] = {}
CODES: dict[str, str] = {}
OWNERS: dict[str, str] = {}
ANSWERS: dict[tuple[str, str], tuple[str, int, Any]] = {}
STATE: dict[str, Any] = {"status": 0, "requests": [], "off_session": ""}

Patched = Any


def patch(resource: Patched) -> None:
    """Add to localstripe's resources what Stripe has; its server reads them when it is imported."""
    resource.Store.dump_to_disk = lambda _: None
    _patch_payments(resource)
    _patch_refunds(resource)
    begin = resource.BalanceTransaction.__init__

    def begin_with_fee(self: Any, **data: Any) -> None:
        begin(self, **data)
        if self.type == "charge":
            self.fee = (self.amount * FEE_BPS + 5_000) // 10_000 + FEE_FIXED_UNITS

    resource.BalanceTransaction.__init__ = begin_with_fee
    resource.Charge.payment_method_details = property(_details_of)


def _patch_payments(resource: Patched) -> None:
    create, confirm = resource.PaymentIntent._api_create, resource.PaymentIntent._api_confirm

    def create_payment(**data: Any) -> Any:
        extras = {name: data.pop(name) for name in EXTRAS if name in data}
        intent = create(**data)
        vars(intent).update(extras)
        return intent

    def confirm_payment(payment_method: str | None = None, off_session: str = "", **data: Any) -> Any:
        intent = resource.PaymentIntent._api_retrieve(data["id"])
        if intent._canceled or (intent.latest_charge and intent.latest_charge.status == "succeeded"):
            raise UserError(400, "The payment is over.", {"code": "payment_intent_unexpected_state"})
        if payment_method:
            intent.payment_method, intent.latest_charge, intent.next_action = payment_method, None, None
        if off_session:
            _require_kept(intent)
        elif vars(intent).get("setup_future_usage"):
            resource.PaymentMethod._api_attach(intent.payment_method, customer=intent.customer)
        try:
            return confirm(**data)
        except UserError as refused:
            refused.body["error"] |= {"type": "card_error", "payment_intent": intent._export()}
            raise

    def update_payment(payment: str, **data: Any) -> Any:
        intent = resource.PaymentIntent._api_retrieve(payment)
        vars(intent).update(data)
        return intent

    resource.PaymentIntent._api_update = staticmethod(update_payment)
    resource.PaymentIntent._api_create = staticmethod(create_payment)
    path = "/v1/payment_intents/{id}/confirm"
    resource.extra_apis[:] = [
        (method, url, confirm_payment if url == path else function)
        for method, url, function in resource.extra_apis
    ]


def _require_kept(intent: Any) -> None:
    """Refuse a charge without the giver of a card that is not kept, or as the test wants."""
    method = resources.PaymentMethod._api_retrieve(intent.payment_method)
    if method.customer != intent.customer:
        raise UserError(400, "The card is not kept for this customer.")
    if STATE["off_session"]:
        intent.payment_method = None
        refused = UserError(402, "The bank refuses.", {"code": STATE["off_session"]})
        refused.body["error"] |= {"type": "card_error", "payment_intent": intent._export()}
        raise refused


def _patch_refunds(resource: Patched) -> None:
    create = resource.Refund._api_create

    def create_refund(**data: Any) -> Any:
        charge = resource.PaymentIntent._api_retrieve(data["payment_intent"]).latest_charge
        if charge.refunded:
            raise UserError(400, "The charge has been refunded.", {"code": "charge_already_refunded"})
        if int(data["amount"]) > charge.amount - charge.amount_refunded:
            raise UserError(400, "The refund is greater than what is left of the charge.")
        made = create(**data)
        made.charge, made.payment_intent = charge.id, data["payment_intent"]
        return made

    resource.Refund._api_create = staticmethod(create_refund)


def _details_of(charge: Any) -> dict[str, Any]:
    method = resources.PaymentMethod._api_retrieve(charge.payment_method)
    return {"type": method.type, method.type: getattr(method, method.type)}


@web.middleware
async def route(request: web.Request, handler: Any) -> web.StreamResponse:
    """Let the test's own requests pass, and answer those of an account."""
    if request.path.startswith("/_"):
        response: web.StreamResponse = await handler(request)
        return response
    body, account = await request.read(), request.headers.get("Stripe-Account", "")
    STATE["requests"].append({"path": request.path, "account": account, "body": body.decode()})
    if STATE["status"]:
        return _refuse(STATE["status"], "api_error", "Later.")
    if request.path == "/oauth/token":
        return await _redeem(request)
    if account not in ACCOUNTS:
        return _refuse(403, "invalid_request_error", "No such account.", code="account_invalid")
    return await _act_as_stripe(request, handler, account, body)


async def _act_as_stripe(request: web.Request, handler: Any, account: str, body: bytes) -> web.StreamResponse:
    """Answer what localstripe does not, and keep accounts apart and keys once."""
    if request.path == "/v1/account":
        return web.json_response({"id": account, "object": "account", **ACCOUNTS[account]})
    if any(OWNERS.get(part, account) != account for part in request.path.split("/")):
        return _refuse(404, "invalid_request_error", "No such object.", code="resource_missing")
    key = request.headers.get("Idempotency-Key", "")
    digest = hashlib.sha256(request.path.encode() + body).hexdigest()
    if (account, key) in ANSWERS:
        asked, status, answer = ANSWERS[account, key]
        if asked != digest:
            return _refuse(400, "idempotency_error", "The key was used for another request.")
        return web.Response(body=answer, status=status, content_type="application/json")
    try:
        response: web.Response = await handler(request)
    except UserError as refused:
        response = refused.to_response()
    for name in resources.store:
        OWNERS.setdefault(name.partition(":")[2], account)
    if key:
        ANSWERS[account, key] = (digest, response.status, response.body)
    return response


async def _redeem(request: web.Request) -> web.Response:
    account = CODES.pop(str((await request.post()).get("code")), None)
    if account is None:
        error = {"error": "invalid_grant", "error_description": "This code is over."}
        return web.json_response(error, status=400)
    is_live = ACCOUNTS[account].get("livemode", False)
    return web.json_response({"stripe_user_id": account, "livemode": is_live})


def _refuse(status: int, kind: str, message: str, **more: str) -> web.Response:
    return web.json_response({"error": {"type": kind, "message": message, **more}}, status=status)


async def set_up(request: web.Request) -> web.Response:
    """Take accounts and codes that the test wants, and how to answer from now on."""
    wanted = await request.json()
    ACCOUNTS.update(wanted.get("accounts", {}))
    for name in wanted.get("left", ()):
        ACCOUNTS.pop(name, None)
    CODES.update(wanted.get("codes", {}))
    for name in ("status", "off_session"):
        STATE[name] = wanted.get(name, STATE[name])
    return web.json_response({"requests": STATE["requests"], "owners": OWNERS})


def main() -> None:
    """Serve on a free port of loopback, and print it."""
    patch(resources)
    from localstripe import server  # noqa: PLC0415 - its routes hold what is patched by now

    server.app.middlewares.insert(0, route)
    server.app.router.add_put("/_config/set_up", set_up)

    async def serve() -> None:
        runner = web.AppRunner(server.app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)  # noqa: T201 - its port, for the test that waits
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()

"""The pages of a sign-in with another provider: to the provider, back from it, and what is then missing.

Each runs a mutation of the API, so rules, limits and the audit log are the same as for any client.
"""

from hmac import compare_digest
from html import escape
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from resolvers.session_cookie import SessionCookie
from schema.execution import unit_of_work
from schema.execution.unit_of_work import OperationResult
from schema.http import authentication, cookie_session
from schema.http.authentication import Credentials
from schema.http.cookie_session import CookieSession
from schema.http.raw_request import from_scope
from schema.http.request import BadRequest
from schema.observability.route_spans import TracedRoute
from schema.server.plain_pages import Say, ask_again, read_form, read_payload, render_page, speaker
from services.core.errors import Invalid
from services.identity import oidc_providers, provider_sign_ins

_FIELDS = "user { id } next challenge { token ways } errors { message }"
_BEGIN = (
    "mutation B($i: BeginProviderSignInInput!) { beginProviderSignIn(input: $i) { url errors { message } } }"
)
_COMPLETE = (
    "mutation C($i: CompleteProviderSignInInput!) { completeProviderSignIn(input: $i) {"
    f" {_FIELDS} isLinked emailToLink }} }}"
)
_LINK = f"mutation L($i: LinkProvedIdentityInput!) {{ linkProvedIdentity(input: $i) {{ {_FIELDS} }} }}"
_FACTOR = (
    "mutation F($i: CompleteSignInInput!) { completeSignIn(input: $i) { user { id } errors { message } } }"
)
MAX_PARAMETER = 4000
CODE_DIGITS = 6


async def go_to_provider(request: Request) -> Response:
    """Send the browser to the provider's page."""
    query = request.query_params
    variables = {
        "provider": request.path_params["name"],
        "next": query.get("next"),
        "link": query.get("link") == "1",
    }
    credentials = Credentials()
    try:
        if variables["link"]:
            credentials = authentication.credentials_of(from_scope(request.scope))
    except BadRequest as refused:
        return _problem(request, refused.message, status=refused.status)
    page = _Page(request, credentials)
    payload, problem = await page.run(_BEGIN, variables)
    return page.finish(problem or _redirect(str(payload["url"])))


async def come_back(request: Request) -> Response:
    """Complete the sign-in with the provider's answer, or ask for what is missing.

    The provider's redirect comes from another site, so our own page asks again.
    """
    if (page_of_ours := ask_again(request)) is not None:
        return page_of_ours
    query = request.query_params
    if "error" in query or "code" not in query:
        return _problem(request, speaker(request)("The provider has not signed you in."))
    page = _Page(request)
    variables = {
        "provider": request.path_params["name"],
        "state": query.get("state", "")[:MAX_PARAMETER],
        "code": query["code"][:MAX_PARAMETER],
        "issuer": query.get("iss"),
    }
    payload, problem = await page.run(_COMPLETE, variables)
    if problem is None and payload["emailToLink"] is not None:
        say = speaker(request)
        form = _password_form(say, variables["state"], payload["emailToLink"])
        problem = render_page(request, say("Sign in"), form, is_form=True)
    return page.finish(problem or page.go_on(payload))


async def link(request: Request) -> Response:
    """Link the proved identity by the password in a form."""
    page = _Page(request)
    state = request.query_params.get("state", "")[:MAX_PARAMETER]
    form = await read_form(request)
    variables = {
        "provider": request.path_params["name"],
        "state": state,
        "password": form.get("password", ""),
    }
    again = _password_form(speaker(request), state, form.get("email", ""))
    payload, problem = await page.run(_LINK, variables, form=again)
    return page.finish(problem or page.go_on(payload))


async def show_factor(request: Request) -> Response:
    """Complete the sign-in by the second factor, in a form that this server has given to this browser.

    A form of somebody else's page could sign its visitor in as somebody else.
    """
    page = _Page(request)
    form = await read_form(request)
    challenge, code, next_path = form.get("challenge", ""), form.get("code", "").strip(), form.get("next", "")
    if not page.has_given(challenge, seal=form.get("seal", "")):
        return _problem(request, speaker(request)("This sign-in was begun in another browser. Start again."))
    is_app = len("".join(code.split())) == CODE_DIGITS
    variables = {"challenge": challenge, ("code" if is_app else "recoveryCode"): code}
    again = _factor_form(speaker(request), challenge, next_path, form["seal"])
    _, problem = await page.run(_FACTOR, variables, form=again)
    return page.finish(problem or _redirect(_own_path(next_path)))


class _Page:
    """One request for a page, and the cookies that its mutation sets."""

    def __init__(self, request: Request, credentials: Credentials | None = None) -> None:
        """Read the cookies."""
        raw = from_scope(request.scope)
        self._request = request
        self._provider: str = request.path_params["name"]
        self._cookie: SessionCookie = cookie_session.read_cookies(raw, is_requested=True)
        self._session = CookieSession(raw, credentials or Credentials(), self._cookie)
        self._result = OperationResult({})

    async def run(
        self, mutation: str, variables: dict[str, Any], *, form: str = ""
    ) -> tuple[dict[str, Any], Response | None]:
        """Run a mutation; return its payload, and the page of its problem if it has one."""
        request, state = self._request, self._request.app.state
        operation = unit_of_work.OperationRequest(
            query=mutation,
            variables={"i": variables},
            token=self._session.credentials.token,
            address=request.client.host if request.client else "",
            device=request.headers.get("user-agent", ""),
            language=request.headers.get("accept-language", ""),
            session_cookie=self._cookie,
        )
        self._result = await unit_of_work.execute(
            operation, sessions=state.sessions, settings=state.settings, buckets=state.buckets
        )
        return read_payload(request, self._result, title=speaker(request)("Sign in"), form=form)

    def go_on(self, payload: dict[str, Any]) -> Response:
        """Send the browser to where it was going, or ask for the second factor first."""
        next_path = payload["next"] or "/"
        needed = payload["challenge"]
        if needed is None:
            return _redirect(next_path)
        seal = self._seal(needed["token"], self._cookie.keep_browser())
        say = speaker(self._request)
        by_passkey = _passkey_link(say, needed) if "PASSKEY" in needed["ways"] else ""
        form = _factor_form(say, needed["token"], next_path, seal)
        return render_page(self._request, say("Sign in"), form + by_passkey, is_form=True)

    def has_given(self, challenge: str, *, seal: str) -> bool:
        """True if this browser was asked for this second factor, after a sign-in with this provider."""
        key, settings = self._cookie.old_browser, self._request.app.state.settings
        if key is None or oidc_providers.find(settings.oidc_providers, self._provider) is None:
            return False
        return compare_digest(seal.encode(), self._seal(challenge, key).encode())

    def _seal(self, challenge: str, browser_key: str) -> str:
        return provider_sign_ins.seal_challenge(challenge, provider=self._provider, browser_key=browser_key)

    def finish(self, response: Response) -> Response:
        """Return a response with the cookies that the mutation set."""
        self._session.write_cookie(response, self._result)
        return response


def _redirect(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, status_code=303, headers=headers)


def _own_path(path: str) -> str:
    try:
        return provider_sign_ins.require_own_path(path)
    except Invalid:
        return "/"


def _problem(request: Request, message: str, *, status: int = 400) -> Response:
    body = f'<p role="alert">{escape(message)}</p>'
    return render_page(request, speaker(request)("Sign in"), body, status=status)


def _password_form(say: Say, state: str, email: str) -> str:
    address, place = escape(email, quote=True), escape(f"link?{urlencode({'state': state})}", quote=True)
    intro = escape(
        say(
            "You have an account here already: {email}. To sign in to it this way from now on, enter its "
            "password once."
        )
    )
    return (
        f'<form method="post" action="{place}"><p>{intro.format(email=address)}</p>'
        f'<input type="hidden" name="email" value="{address}">'
        f"<label>{escape(say('Password'))} "
        '<input type="password" name="password" autocomplete="current-password" required></label>'
        f"<button>{escape(say('Link and sign in'))}</button></form>"
    )


def _factor_form(say: Say, challenge: str, next_path: str, seal: str) -> str:
    label = say("Code of your authenticator app, or a recovery code")
    return (
        f'<form method="post" action="factor"><p>{escape(say("Your account has a second factor."))}</p>'
        f'<input type="hidden" name="challenge" value="{escape(challenge, quote=True)}">'
        f'<input type="hidden" name="seal" value="{escape(seal, quote=True)}">'
        f'<input type="hidden" name="next" value="{escape(next_path, quote=True)}">'
        f'<label>{escape(label)} <input name="code" autocomplete="one-time-code" required></label>'
        f"<button>{escape(say('Sign in'))}</button></form>"
    )


def _passkey_link(say: Say, challenge: dict[str, Any]) -> str:
    """Return a link to the page that can ask for a passkey; what follows the # stays in the browser."""
    given = urlencode({"challenge": challenge["token"], "ways": ",".join(challenge["ways"])})
    return f'<p><a href="/sign-in#{escape(given, quote=True)}">{escape(say("Use a passkey"))}</a></p>'


ROUTES = [
    TracedRoute("/sign-in/oidc/{name}", go_to_provider, methods=["GET"]),
    TracedRoute("/sign-in/oidc/{name}/callback", come_back, methods=["GET"]),
    TracedRoute("/sign-in/oidc/{name}/link", link, methods=["POST"]),
    TracedRoute("/sign-in/oidc/{name}/factor", show_factor, methods=["POST"]),
]

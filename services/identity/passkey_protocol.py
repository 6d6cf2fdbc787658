"""What a browser is asked for a passkey, and whether its answer holds (WebAuthn)."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import webauthn
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from services.identity.relying_party import RelyingParty

_MALFORMED = (
    WebAuthnException,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    OverflowError,
    RecursionError,
)
"""What the library raises for what is no answer of a browser."""


def registration_options(
    *, party: RelyingParty, user_id: UUID, email: str, name: str, challenge: bytes, known: Sequence[bytes]
) -> str:
    """Return the options, as JSON, with which a browser makes a passkey, other than the known ones."""
    options = webauthn.generate_registration_options(
        rp_id=party.domain,
        rp_name="Commonweal",
        user_id=user_id.bytes,
        user_name=email,
        user_display_name=name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=key) for key in known],
    )
    return webauthn.options_to_json(options)


def authentication_options(
    *, party: RelyingParty, challenge: bytes, known: Sequence[bytes], must_verify: bool
) -> str:
    """Return the options, as JSON, with which a browser signs by a known passkey, or any if none is known."""
    options = webauthn.generate_authentication_options(
        rp_id=party.domain,
        challenge=challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=key) for key in known],
        user_verification=(
            UserVerificationRequirement.REQUIRED if must_verify else UserVerificationRequirement.PREFERRED
        ),
    )
    return webauthn.options_to_json(options)


def verify_registration(
    credential: dict[str, Any], *, challenge: bytes, party: RelyingParty
) -> tuple[bytes, bytes, int] | None:
    """Return the id, public key and counter of a new passkey; None if the answer does not hold."""
    try:
        verified = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.domain,
            expected_origin=list(party.origins),
        )
    except _MALFORMED:
        return None
    return verified.credential_id, verified.credential_public_key, verified.sign_count


def verify_authentication(
    credential: dict[str, Any],
    *,
    challenge: bytes,
    party: RelyingParty,
    public_key: bytes,
    sign_count: int,
    must_verify: bool,
) -> int | None:
    """Return the new counter of a passkey that has signed the challenge; None if the answer does not hold."""
    try:
        verified = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.domain,
            expected_origin=list(party.origins),
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=must_verify,
        )
    except _MALFORMED:
        return None
    return verified.new_sign_count

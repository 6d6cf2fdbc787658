"""Mails that secure an account: subject and text by template; see `templates.render`."""

from collections.abc import Mapping

# Anybody can have these mails sent to any address, so they repeat no text that people enter: no spam.
ACCOUNT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "verify_email": (
        "Please confirm your email address",
        """Hello,

someone, most likely you, signed up for Commonweal with this email address.
To confirm it and choose your password, open this link:

{link}

or enter this token when you are asked for one:

{token}

The link and the token work once and expire after a few days. If this was not you, please ignore this email.
""",
    ),
    "address_in_use": (
        "You already have an account",
        """Hello {name},

someone, most likely you, tried to sign up for Commonweal with this email address. It already has an
account, so nothing was changed. Just sign in with your password.

If this was not you, there is nothing you need to do.
""",
    ),
    "email_confirmed": (
        "Your email address is confirmed",
        """Hello {name},

thank you! Your email address is confirmed, and your Commonweal account is ready.
""",
    ),
    "new_device": (
        "New sign-in to your account",
        """Hello {name},

your Commonweal account was signed in to with a device that it has not used before:

    {device}
    {network}
    {time}

If this was you, there is nothing you need to do. If it was not, reset your password: that signs out every
device, and ends every access token.
""",
    ),
    "password_reset": (
        "Reset your Commonweal password",
        """Hello,

someone, most likely you, asked to reset the password of the account with this email address.
To choose a new password, open this link:

{link}

or enter this token when you are asked for one:

{token}

The link and the token work once and expire after two hours. If this was not you, please ignore this email.
Your password will not change.
""",
    ),
    "password_changed": (
        "Your password was changed",
        """Hello {name},

your Commonweal password was changed. All other devices were signed out of your account, and all access
tokens were revoked.

If this was not you, somebody else knows your password or can read your email. Secure your mailbox first, then
reset your password.
""",
    ),
    "email_change_confirm": (
        "Please confirm your new email address",
        """Hello,

someone, most likely you, wants to use this email address for the Commonweal account of {old_email}.
To confirm it, open this link:

{link}

or enter this token when you are asked for one:

{token}

The link and the token work once and expire after two days. If this was not you, please ignore this email.
""",
    ),
    "email_change_taken": (
        "Your email address is in use already",
        """Hello,

someone, most likely you, wanted to use this email address for another Commonweal account. It belongs to an
account of its own, so nothing was changed.

If this was you, sign in or sign up with this address; the two accounts can then be merged. If it was not,
there is nothing you need to do.
""",
    ),
    "email_change_requested": (
        "Your email address is to be changed",
        """Hello {name},

someone who is signed in to your Commonweal account, most likely you, wants to change its email address to
{email}. Nothing changes before that address is confirmed.

If this was not you, somebody else uses your account: reset your password now. That ends the change, and signs
out every device.
""",
    ),
    "email_changed": (
        "Your email address was changed",
        """Hello {name},

the email address of your Commonweal account was changed to {email}. This address no longer signs in. Other
devices were signed out, and all access tokens were revoked.

If this was not you, take your account back within 7 days with this link:

{link}

or with this token:

{token}
""",
    ),
    "email_change_done": (
        "Your email address is changed",
        """Hello {name},

your Commonweal account now has this email address: {email}. Other devices were signed out, and all access
tokens were revoked.
""",
    ),
    "email_change_undone": (
        "You have your email address back",
        """Hello {name},

the change of your email address is undone: your Commonweal account has the address {email} again. Every
device was signed out, all access tokens were revoked, and a password that was changed meanwhile no longer
works. Somebody else may know your password, so choose a new one now:

{link}

or enter this token when you are asked for one:

{token}

The link and the token work once and expire after two hours; after that, ask for a password reset.
""",
    ),
    "email_given_back": (
        "This email address was taken off an account",
        """Hello,

the owner of a Commonweal account has undone the change of its email address to this one. You can no longer
sign in to that account with this address.
""",
    ),
    "identity_linked": (
        "{provider} can sign in to your account",
        """Hello {name},

your Commonweal account can now be signed in to with {provider} ({email}).

If this was not you, sign in, remove {provider} from your account, and reset your password.
""",
    ),
    "factor_added": (
        "Your account is better protected: {factor}",
        """Hello {name},

this was added to your Commonweal account, to sign in and to confirm what matters:

    {factor}

If this was not you, somebody else is signed in to your account. Reset your password, which signs out every
device, and tell the administrators of Commonweal.
""",
    ),
    "factor_removed": (
        "A key of your account was removed: {factor}",
        """Hello {name},

this was removed from your Commonweal account, and no longer signs you in:

    {factor}

If this was not you, somebody else is signed in to your account. Reset your password, which signs out every
device, and tell the administrators of Commonweal.
""",
    ),
    "recovery_code_used": (
        "A recovery code of your account was used",
        """Hello {name},

a recovery code was used in the place of your second factor. Codes that are left: {factor}

If this was not you, somebody else has your codes. Reset your password, sign in and ask for new codes.
""",
    ),
    "data_export": (
        "The copy of your data is ready",
        """Hello,

the copy of your Commonweal data that you asked for is ready. Sign in, then open this link within 24 hours:

{export_link}

It works for nobody else. If you did not ask for it, somebody else uses your account: change your password.
""",
    ),
    "merge_requested": (
        "Request to merge the account {source} into {target}",
        """Hello,

somebody has asked to merge the Commonweal account {source} into {target}. One of the two has this email
address. Balances and roles of {source} would move to {target}, and {source} could no longer sign in.

If both accounts are yours, sign in with the other one within seven days and ask for the same merge.

If not, please tell the administrators of Commonweal. Without you, nothing is merged unless two of them agree.
""",
    ),
    "guest_receipt": (
        "Thank you for donating {amount} to {to}",
        """Hello,

thank you! Your donation to {to} is complete. Please keep this email as your receipt.

Amount: {amount}
To: {to}
Type: {type}
Description: {description}
Tip to the platform: {tip}

To see your donation in an account of your own, and to be named as its giver, open this link:

{link}

or enter this token when you are asked for one:

{token}
""",
    ),
    "accounts_merged": (
        "The account {source} was merged into {target}",
        """Hello,

the Commonweal account {source} was merged into {target}. Its balances and roles are there now, and it can
no longer sign in.

If you did not expect this, please tell the administrators of Commonweal.
""",
    ),
}

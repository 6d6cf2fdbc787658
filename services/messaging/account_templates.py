"""Mails that secure an account: subject and text by template; see `templates.render`."""

from collections.abc import Mapping

# Anybody can have these mails sent to any address, so they repeat no text that people enter: no spam.
ACCOUNT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "verify_email": (
        "Please confirm your email address",
        """Hello,

someone, most likely you, signed up for Commonweal with this email address.
To confirm it and sign in, open this link:

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

your Commonweal password was changed. All devices were signed out of your account, and all access tokens
were revoked.

If this was not you, somebody else can read your email. Secure your mailbox first, then reset your password.
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
    "accounts_merged": (
        "The account {source} was merged into {target}",
        """Hello,

the Commonweal account {source} was merged into {target}. Its balances and roles are there now, and it can
no longer sign in.

If you did not expect this, please tell the administrators of Commonweal.
""",
    ),
}

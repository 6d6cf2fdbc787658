"""What mails that secure an account say: subject and text by template, filled by `mail_templates.render`."""

from collections.abc import Mapping

# The mails that anybody can have sent to an address repeat no word of theirs: they would carry spam.
ACCOUNT_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "verify_email": (
        "Please confirm your email address",
        """Hello,

someone, most likely you, signed up at Commonweal with this address.
To confirm it and sign in, open this link:

{link}

or use this token where you are asked for one:

{token}

The link and the token work once, for a few days. If it was not you, just ignore this mail.
""",
    ),
    "address_in_use": (
        "You have an account already",
        """Hello {name},

someone, most likely you, tried to sign up at Commonweal with this address. It has an account
already, so nothing was changed: just sign in with your password.

If it was not you, there is nothing to do.
""",
    ),
    "email_confirmed": (
        "Your email address is confirmed",
        """Hello {name},

thank you: your address is confirmed, and your account at Commonweal is ready.
""",
    ),
    "password_reset": (
        "A new password for Commonweal",
        """Hello,

someone, most likely you, asked to choose a new password for the account of this address.
To choose it, open this link:

{link}

or use this token where you are asked for one:

{token}

The link and the token work once, for two hours. If it was not you, just ignore this mail: the old
password stays.
""",
    ),
    "password_changed": (
        "Your password was changed",
        """Hello {name},

your password at Commonweal was changed. Whoever was signed in to your account is signed out, and the
access tokens of your programs have ended.

If it was not you, somebody else reads your mail: secure your mailbox first, then choose another password.
""",
    ),
}

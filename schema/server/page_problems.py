"""What the mutations behind our pages may complain of, so that it is translated there."""

from services.identity.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH

PROBLEMS = (
    f"Enter a password of {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters.",
    "Many people use this password, so it is tried first. Choose another.",
    "This link is no longer valid. Request a new one.",
    "This link is not valid.",
    "This email address belongs to another account.",
    "The email address or password is wrong.",
    "This account is archived. Ask the platform to open it again.",
    "This sign-in is over. Begin again with your password.",
    "Your session has ended; sign in again.",
    "The provider has not verified an email address of yours. Verify one there, or sign up here.",
    "Another provider has answered. Start the sign-in again.",
    "The provider has not accepted the code. Start the sign-in again.",
    "The provider's answer is not valid. Start the sign-in again.",
    "The provider cannot be reached. Try again later.",
    "The provider has refused the sign-in. Start again.",
)
GIFT_PROBLEMS = (
    "Enter an amount.",
    "The amount must be greater than zero.",
    "The amount is too large.",
    "The amount has too many digits.",
    "The fees are larger than the amount.",
    "A tip is at most as large as the gift. Enter a smaller one.",
    "A gift by or to the platform has no tip. Leave it out.",
    "No recent exchange rate is available.",
    "Enter an email address.",
    "Too many attempts; try again later.",
    "The host's payment provider takes no payments now. Choose another way of paying.",
    "Enter one of the test cards; real cards do not work here.",
    "This payment has ended, or there is none.",
)
CONNECT_PROBLEMS = (
    "This connection was not begun here, or more than an hour ago. Begin again.",
    "Who began this may not connect the host any longer. Begin again.",
    "The consent is no longer valid. Connect the host again.",
    "The account and this server differ: one is live, and one is for tests.",
    "Another host here is connected to this account of the provider.",
    "The payment provider does not answer. Nothing was charged; try again later, or pay in another way.",
)

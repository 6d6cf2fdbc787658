"""A random history of money and time through HTTP, and its independent replay."""

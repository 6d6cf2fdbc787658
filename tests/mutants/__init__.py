"""Weakened copies of the guards and of the money path: each must turn a test red."""

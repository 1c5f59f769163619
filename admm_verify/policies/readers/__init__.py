"""Policies from files and modules; nothing that a file contains is executed."""

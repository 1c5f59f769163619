"""Certificates of unsatisfiable queries: what they hold, their files, and a checker that trusts no search."""

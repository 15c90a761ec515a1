"""Accounts: registering, logging in and out, sessions, passwords, and getting back in by mail."""

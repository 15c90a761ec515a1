"""Microblog: a small social site on Quart whose accounts live by e-mail."""

__version__ = "0.1.0"

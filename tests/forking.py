"""Processes of the site that need no second of imports: forked from one that has done them."""

from __future__ import annotations

import multiprocessing

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["app.cli.main", "aiosqlite", "asyncpg"])

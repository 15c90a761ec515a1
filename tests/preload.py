"""What forked sites inherit from the fork server, which imports this module before it forks the first of them."""

from __future__ import annotations

import gc
from importlib import import_module

from app.settings.parsing import LOCALES, SOURCE_LANGUAGE
from app.web import languages

for _name in (
    "app.cli.main",
    "aiosqlite",
    "asyncpg",
    "hypercorn.__main__",
    "hypercorn.asyncio.run",
    "celery.bin.celery",  # not app.worker: it reads the settings
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "kombu.transport.redis",
):
    import_module(_name)

# Reading the catalogues is most of a site's start.
for _code in (SOURCE_LANGUAGE, *(path.name for path in LOCALES.iterdir() if path.is_dir())):
    languages.find(_code)
languages.time_zones()
gc.freeze()

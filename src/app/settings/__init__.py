"""Every setting of the site: its name, how it is read, its default, and what must hold.

Values come from `create_app(config=...)`, else the environment, else a `.env` file in the working
directory, else the default. `table` lists them all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dotenv import dotenv_values

from app.settings import checks
from app.settings.checks import VAR
from app.settings.table import SETTINGS, Setting, SettingsError

__all__ = ["SETTINGS", "VAR", "SettingsError", "from_environment", "load"]


def load(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the value of every setting, those of `config` first; keys it does not know pass through.

    A key given as None has its default, whatever the environment says. Raises SettingsError with one
    line for the first wrong or missing one.
    """
    given = dict(config or {})
    sources = (os.environ, _from_file())
    values = {setting.key: _value(setting, given, sources) for setting in SETTINGS}
    checks.fill_in(values)
    checks.check(values)
    return {**given, **values}


def from_environment() -> dict[str, str]:
    """Return what the environment gives, and where that is empty the `.env` file of this directory."""
    kept = _from_file()
    return kept | {key: value for key, value in os.environ.items() if value or key not in kept}


def _from_file() -> dict[str, str]:
    return {key: value for key, value in dotenv_values(".env").items() if value is not None}


def _value(setting: Setting, given: Mapping[str, Any], sources: Sequence[Mapping[str, str]]) -> Any:
    keys = (setting.key, *setting.aliases)
    named = [given[key] for key in keys if key in given]
    if not named:
        found = (source[key] for key in keys for source in sources if key in source)
        named = [raw for raw in found if raw or setting.may_be_empty]
    return setting.parse(next((raw for raw in named if raw is not None), setting.default))

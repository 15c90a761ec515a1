"""The Blueprint that every feature uses."""

from __future__ import annotations

from typing import Any

import quart


class Blueprint(quart.Blueprint):
    """Quart's Blueprint without Flask's own template context processor.

    Quart 0.22 inherits that one, which is sync: it adds nothing, and Quart would run it in a thread at
    every page that is rendered.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.template_context_processors.clear()

"""What is told of an error: its kind, its place and its path through the code, and no value at all.

The message of an exception often holds what somebody typed, so only types, files, lines and the text
of the code are told.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_CAUSES = 5
MOST_FRAMES = 30
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Description:
    """An error without its values; `fingerprint` is the same for the same kind at the same place."""

    fingerprint: str
    kind: str
    place: str
    traceback: str


def describe(error: BaseException) -> Description:
    """Return the description of `error`, that of its causes within."""
    kind = _name(error)
    place = _place(error)
    fingerprint = sha256(f"{kind} {place}".encode()).hexdigest()
    return Description(fingerprint, kind, place, _trace(error))


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    whole = name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
    return whole[:LONGEST_NAME]


def _place(error: BaseException) -> str:
    """Return file, line and function of the innermost frame of this site, else of the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    for frame in (ours or frames)[-1:]:
        path = Path(frame.filename)
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        return f"{name}:{frame.lineno} in {frame.name}"
    return "nowhere"


def _trace(error: BaseException) -> str:
    """Return the frames of `error` and of what led to it, the first cause first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < MOST_CAUSES:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    parts = []
    for one in reversed(chain):
        frames = traceback.extract_tb(one.__traceback__)
        parts.append("".join(traceback.format_list(frames[-MOST_FRAMES:])) + _name(one))
    return "\n\n".join(parts)

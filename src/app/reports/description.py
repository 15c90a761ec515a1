"""Describe an error without values: its type, its place and its traceback.

Exception messages often contain what somebody typed, so a description has only types, files, lines and
source text.
"""

import traceback
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_CAUSES = 5
MAX_FRAMES = 30
MAX_NAME_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Description:
    """An error without its values; errors of one type at one place have the same `fingerprint`."""

    fingerprint: str
    kind: str
    place: str
    traceback: str


def describe(error: BaseException) -> Description:
    """Return the description of `error` and its causes."""
    kind = _name(error)
    place = _place(error)
    fingerprint = sha256(f"{kind} {place}".encode()).hexdigest()
    return Description(fingerprint, kind, place, _trace(error))


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__
    whole = name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"
    return whole[:MAX_NAME_LENGTH]


def _place(error: BaseException) -> str:
    """Return file, line and function of the innermost frame of this site, or else of any code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
    for frame in (ours or frames)[-1:]:
        path = Path(frame.filename)
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
        return f"{name}:{frame.lineno} in {frame.name}"
    return "(unknown place)"


def _trace(error: BaseException) -> str:
    """Return the tracebacks of `error` and its causes, the first cause first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain and len(chain) < MAX_CAUSES:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    parts = []
    for one in reversed(chain):
        frames = traceback.extract_tb(one.__traceback__)
        parts.append("".join(traceback.format_list(frames[-MAX_FRAMES:])) + _name(one))
    return "\n\n".join(parts)

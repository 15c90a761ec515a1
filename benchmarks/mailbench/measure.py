"""Running contestants in turn, and what came of it."""

from __future__ import annotations

import smtplib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Contestant = Callable[[int, int], None]


@dataclass
class Result:
    """Rounds of one contestant; times in seconds."""

    name: str
    rates: list[float] = field(default_factory=list)  # messages a second
    cpu: list[float] = field(default_factory=list)  # seconds of this process for a message
    sink: list[float] = field(default_factory=list)  # seconds of the sink for a message

    @property
    def rate(self) -> float:
        """Return the median messages a second."""
        return statistics.median(self.rates)


def asked(port: int) -> tuple[int, float]:
    """Return how many messages the sink has taken, and its CPU seconds."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="bench") as client:
        _, text = client.docmd("XCOUNT")
    count, seconds = text.split()
    return int(count), float(seconds)


def run(contestants: dict[str, Contestant], port: int, count: int, rounds: int) -> list[Result]:
    """Let every contestant send ``count`` messages, ``rounds`` times in turn."""
    results = {name: Result(name) for name in contestants}
    for send in contestants.values():  # imports, caches and the sink get warm
        send(port, 8)
    for _ in range(rounds):
        for name, send in contestants.items():
            taken, sink = asked(port)
            wall, cpu = time.perf_counter(), time.process_time()
            send(port, count)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            taken_now, sink_now = asked(port)
            if taken_now - taken != count:
                raise SystemExit(f"{name}: {taken_now - taken} of {count} messages arrived")
            results[name].rates.append(count / wall)
            results[name].cpu.append(cpu / count)
            results[name].sink.append((sink_now - sink) / count)
    return list(results.values())


def microseconds(work: Callable[[], object], times: int = 1000) -> float:
    """Return the CPU time of one call."""
    work()
    begun = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begun) / times * 1e6

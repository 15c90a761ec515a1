"""The parts of ``benchmarks/mail.py``."""

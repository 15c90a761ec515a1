"""What the benchmarks of the outbox share."""

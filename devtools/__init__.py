"""What tests, benchmarks and tools share: a load generator, sample apps, servers in boxes."""

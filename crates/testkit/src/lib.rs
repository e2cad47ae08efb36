//! Real servers for tests, demo and benchmarks: Anvil, Postgres, the contracts deployed, traffic, a model chain.

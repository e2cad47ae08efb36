//! Postgres: the private cluster, the three roles, migrations, tenant transactions, leases, COPY.

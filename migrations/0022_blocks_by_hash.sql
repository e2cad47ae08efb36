-- A request that names the block that it was decided on (`managed_transactions.as_of_block_hash`) is looked at again and again while it waits: which block that is, and whether it is still there.
CREATE INDEX chain_blocks_by_hash ON chain_blocks (chain_id, hash);

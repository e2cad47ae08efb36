-- A claim says in which process it is held: by the advisory lock that each session of that process has, shared. Where nobody has it, no session of
-- the holder is left, and the claim may be taken at once. NULL: claimed before processes had one; its term alone frees it.
ALTER TABLE idempotency_cache ADD COLUMN presence bigint;

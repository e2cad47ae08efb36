-- When a block of the chain is final, as it is configured: so many blocks deep, by the chain's own tag, or by age.
ALTER TABLE chains ADD COLUMN finality text;
UPDATE chains SET finality = finality_depth || ' blocks';
ALTER TABLE chains ALTER COLUMN finality SET NOT NULL;
ALTER TABLE chains DROP COLUMN finality_depth;

-- A backfill may be asked for at a level: what was found missing by its receipts is not looked for by the bloom, which did not show it.

ALTER TABLE backfills ADD COLUMN level completeness_level;   -- proven at this level at least; NULL: as the chain's backfills are

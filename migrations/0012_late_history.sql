-- What comes into the journal late: history of a contract or a sender that was added, or that is wanted from an earlier block, and what an endpoint once
-- withheld. Its blocks are final, so it is never taken back; the newest comes first.

ALTER TYPE journal_kind ADD VALUE 'late_append';
ALTER TYPE journal_kind ADD VALUE 'late_included';
ALTER TYPE certificate_source ADD VALUE 'late';

-- What taking a record back restores may be later history than was known when the record was applied.
GRANT UPDATE (undo) ON fold_undo TO plimsoll_worker;

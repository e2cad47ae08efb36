//! The chain in: backfill, head, reorganisations, confirmation and finality marks.

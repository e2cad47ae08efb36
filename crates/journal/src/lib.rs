//! The chain's journal: dense records, the raw store under them, cursors and folds over them.

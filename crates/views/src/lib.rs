//! The views' folds: mirrors of what the contracts cache, their apply log, and the proof that they agree.

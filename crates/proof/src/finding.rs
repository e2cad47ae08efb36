/// What a check that failed says about the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It could not be shown, as with a field or a type that this version does not know. The data may be right; it must
    /// not be taken for proven, nor its source for a liar.
    Unproven,
    /// The parts of the data cannot all be true: its source errs or lies. The data is evidence and worth keeping.
    Contradiction,
}

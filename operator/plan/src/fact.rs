//! What is believed about something outside the process. Three values, so that a lost answer is never taken for "no".

/// A belief about the world. A match on it spells out all three arms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// We asked; it is not there.
    Absent,
    /// We could not ask, or lost the answer. Neither create nor delete on this.
    #[default]
    Unknown,
    /// We asked; this is what it looks like.
    Known(T),
}

impl<T> Fact<T> {
    /// The value, when there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Absent | Fact::Unknown => None,
        }
    }

    /// An answer that arrived.
    pub fn answered(answer: Option<T>) -> Fact<T> {
        match answer {
            Some(value) => Fact::Known(value),
            None => Fact::Absent,
        }
    }
}

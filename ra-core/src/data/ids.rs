//! Dense ids of items and users: two types, so that one cannot be passed for the other.
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display};

/// A dense item id: `1..=items` in the order of the catalogue, and 0 for [`ItemId::PADDING`]. It is the item's row in a
/// table of vectors, `[items + 1, dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemId(pub u32);

/// A dense user id: `0..users`, the user's row in a table of vectors, `[users, dim]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub u32);

impl ItemId {
    /// The id that stands for "no item".
    pub const PADDING: Self = Self(0);

    /// The item's row in a table whose row 0 is padding.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All ids of a catalogue of `items` items, without padding.
    pub fn all(items: usize) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        (1..items as u32 + 1).map(Self)
    }

    /// Ids from plain numbers: `ItemId::list([3, 1, 4])`.
    pub fn list(numbers: impl IntoIterator<Item = u32>) -> Vec<Self> {
        numbers.into_iter().map(Self).collect()
    }
}

impl UserId {
    /// The user's row.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All ids of `users` users.
    pub fn all(users: usize) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        (0..users as u32).map(Self)
    }
}

impl Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for ItemId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<u32> for UserId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

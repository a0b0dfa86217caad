//! What transforms replaced, layer by layer.

/// The edits of one batch, in the client's indices: one layer for each transform that ran, in the order of the chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    layers: Vec<Layer>,
}

/// What one transform replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layer {}

/// What a record has instead of what it came with; `None` = what it came with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordEdit<'a> {
    pub key: Option<Option<&'a [u8]>>,
    pub value: Option<Option<&'a [u8]>>,
    /// All the headers that the record then has.
    pub headers: Option<Vec<(&'a [u8], Option<&'a [u8]>)>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Layers so far.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// What the first `layers` layers made of a record; `None` = they left it alone.
    pub fn of(&self, _record: usize, _layers: usize) -> Option<RecordEdit<'_>> {
        None
    }
}

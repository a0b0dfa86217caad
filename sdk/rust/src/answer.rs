//! What the functions behind `#[filter]`, `#[router]` and `#[transform]` may give back.

use std::fmt::Display;

use crate::{Record, Routes, Verdict};

/// What a function over one record may say of it: a [`Verdict`]; `true` (keep) or `false` (drop);
/// `()` (keep); or a `Result` of these, whose error rejects the record with its words.
pub trait IntoVerdict {
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    #[inline]
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for bool {
    #[inline]
    fn into_verdict(self) -> Verdict {
        self.into()
    }
}

impl IntoVerdict for () {
    #[inline]
    fn into_verdict(self) -> Verdict {
        Verdict::Keep
    }
}

impl<V: IntoVerdict, E: Display> IntoVerdict for Result<V, E> {
    #[inline]
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(verdict) => verdict.into_verdict(),
            Err(reason) => Verdict::reject(reason.to_string()),
        }
    }
}

/// Where a record goes. The topics are among the router's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination<T> {
    /// It stays in its topic.
    Stay,
    /// It is acknowledged and stored nowhere.
    Drop,
    /// It leaves its topic for this one.
    Move(T),
    /// It stays, and a copy goes to this topic.
    Copy(T),
}

/// What a router's function over one record may say of it: a [`Destination`]; `Some(topic)` (move
/// there) or `None` (stay); `()`, where [`Routes`] say it; a [`Verdict`]; or a `Result` of these,
/// whose error rejects the record with its words.
pub trait IntoRoute {
    fn route(self, record: &Record<'_>, routes: &mut Routes);
}

impl IntoRoute for () {
    fn route(self, _: &Record<'_>, _: &mut Routes) {}
}

impl IntoRoute for Verdict {
    fn route(self, record: &Record<'_>, routes: &mut Routes) {
        routes.set(record, self);
    }
}

impl<T: AsRef<str>> IntoRoute for Destination<T> {
    fn route(self, record: &Record<'_>, routes: &mut Routes) {
        match self {
            Self::Stay => {}
            Self::Drop => routes.set(record, Verdict::Drop),
            Self::Copy(topic) => routes.send(record, topic.as_ref()),
            Self::Move(topic) => {
                routes.send(record, topic.as_ref());
                routes.set(record, Verdict::Drop);
            }
        }
    }
}

impl<T: AsRef<str>> IntoRoute for Option<T> {
    fn route(self, record: &Record<'_>, routes: &mut Routes) {
        self.map_or(Destination::Stay, Destination::Move)
            .route(record, routes);
    }
}

impl<R: IntoRoute, E: Display> IntoRoute for Result<R, E> {
    fn route(self, record: &Record<'_>, routes: &mut Routes) {
        match self {
            Ok(destination) => destination.route(record, routes),
            Err(reason) => routes.set(record, Verdict::reject(reason.to_string())),
        }
    }
}

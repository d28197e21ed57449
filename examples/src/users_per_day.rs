//! How many distinct users come each day.
//!
//! The user is the rest of the key: equal pairs of day and user merge where they are mapped, and the reduce only counts them. No
//! set of users is held anywhere.

use rabbit_reduce_core::job::{Piece, RecordError};
use rabbit_reduce_core::map_reduce::{MapReduce, Members, Row};
use std::io;

/// Rows of a day and a number of users. Lines are `day user`, and anything behind another space.
pub struct UsersPerDay;

impl MapReduce for UsersPerDay {
    type Group = String;
    type Rest = String;
    type Value = ();

    fn map<'r>(&'r self, line: Piece<'r>) -> impl Iterator<Item = Result<(String, String, ()), RecordError>> + 'r {
        let mut fields = line.text().unwrap_or_default().split(' ');
        let visit = fields.next().zip(fields.next()).filter(|(day, user)| !day.is_empty() && !user.is_empty());
        let visit = visit.map(|(day, user)| (day.to_owned(), user.to_owned(), ()));
        std::iter::once(visit.ok_or_else(|| RecordError::new("a line is a day, a space and a user")))
    }

    fn columns(&self) -> &'static [&'static str] {
        &["day", "users"]
    }

    fn reduce<'v>(
        &'v self,
        day: &'v String,
        mut users: Members<'v, String, ()>,
    ) -> impl Iterator<Item = io::Result<Row>> + 'v {
        let users = users.try_fold(0_u64, |users, user| user.map(|_| users + 1));
        std::iter::once(users.map(|users| Row::new().with(day.as_str()).with(users)))
    }
}

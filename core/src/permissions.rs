//! What each role may do on a broker: RabbitMQ's three expressions, as narrow as they can be.
//!
//! What would surprise: whoever binds a private queue reads the exchanges it is bound to, and whoever declares a queue that
//! dead-letters reads that queue; so says RabbitMQ. Nobody reads the exchange of the work queues: it would bring them copies of
//! everything.

use crate::topology::queue;

/// Who talks to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Starts jobs and asks for them.
    Producer,
    /// Maps.
    Worker,
    /// Counts, keeps and answers.
    Aggregator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Worker, Self::Aggregator];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Worker => "worker",
            Self::Aggregator => "aggregator",
        }
    }
}

/// Regular expressions over the names of queues and exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// What it may declare and delete.
    pub configure: String,
    /// Where it may publish, and which queues it may bind.
    pub write: String,
    /// From where it may consume, and to which exchanges it may bind.
    pub read: String,
}

impl Permissions {
    /// What a role needs in a namespace that somebody has declared.
    #[must_use]
    pub fn of(role: Role, namespace: &str) -> Self {
        let (private, answers, news, store) = ("private[.].*", "answers", "news", queue::STORE);
        let (configure, write, read): (&[&str], &[&str], &[&str]) = match role {
            Role::Producer => (&[private], &[private], &[private, answers, news]),
            Role::Worker => {
                (&[private], &[private], &[private, answers, news, queue::MAP, queue::AGAIN, queue::SUSPECT])
            }
            Role::Aggregator => (
                &[private, store],
                &[private, answers, news],
                &[private, answers, news, store, queue::CONTROL, queue::DEAD, "reduce[.].*"],
            ),
        };
        let escaped = namespace.replace('.', "[.]");
        let beneath = |names: &[&str]| format!("{escaped}[.]({})", names.join("|"));
        Self {
            configure: format!("^{}$", beneath(configure)),
            write: format!("^({escaped}|{})$", beneath(write)),
            read: format!("^{}$", beneath(read)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_with_dots_means_itself_alone() {
        let Permissions { configure, write, read } = Permissions::of(Role::Worker, "a.b-1");
        assert_eq!(configure, "^a[.]b-1[.](private[.].*)$");
        assert_eq!(write, "^(a[.]b-1|a[.]b-1[.](private[.].*))$");
        assert_eq!(read, "^a[.]b-1[.](private[.].*|answers|news|map|again|suspect)$");
    }
}

//! What an error of the client library means to us: try again, mend the access, mend the namespace, or give up.
//!
//! It does not know what was being done; the caller says. What would surprise: RabbitMQ reports a wrong password and a missing
//! permission by the same code (403), a virtual host that is missing or closed to the user by 530, and both look like any lost
//! connection unless the code is read.

use super::url::RabbitUrl;
use crate::broker::BrokerError;
use deadpool_lapin::lapin::{Error, ErrorKind, protocol::AMQPError};

/// AMQP's reply codes, as far as they decide anything.
mod code {
    pub(super) const CONNECTION_FORCED: u16 = 320;
    pub(super) const FRAME_ERROR: u16 = 501;
    pub(super) const ACCESS_REFUSED: u16 = 403;
    pub(super) const NOT_FOUND: u16 = 404;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    pub(super) const NOT_ALLOWED: u16 = 530;
    pub(super) const INTERNAL_ERROR: u16 = 541;
}

/// The broker said that something does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == code::NOT_FOUND)
}

/// The broker is not there, or not any more.
pub(super) fn unreachable(url: &RabbitUrl, reason: impl Into<String>) -> BrokerError {
    BrokerError::Unreachable { address: url.address(), reason: reason.into() }
}

/// What `error` means when `action` was asked for.
pub(super) fn classify(url: &RabbitUrl, action: &str, error: &Error) -> BrokerError {
    match error.kind() {
        ErrorKind::ProtocolError(said) => protocol(url, action, said),
        ErrorKind::AuthProviderError(reason) => BrokerError::Refused { address: url.address(), reason: reason.clone() },
        ErrorKind::ChannelsLimitReached => BrokerError::Denied {
            action: action.to_owned(),
            reason: "the connection has as many channels as the broker allows (channel_max)".to_owned(),
        },
        _ => unreachable(url, error.to_string()),
    }
}

/// As [`classify`], for the declaration of `queue`, where a broker may find other arguments.
pub(super) fn classify_declaration(url: &RabbitUrl, queue: &str, error: &Error) -> BrokerError {
    match error.kind() {
        ErrorKind::ProtocolError(said) if said.get_id() == code::PRECONDITION_FAILED => BrokerError::Mismatch {
            queue: queue.to_owned(),
            reason: format!(
                "{}; use the same version everywhere or another --namespace, or delete this one (`producer teardown`)",
                said.get_message()
            ),
        },
        _ => classify(url, &format!("declare {queue}"), error),
    }
}

fn protocol(url: &RabbitUrl, action: &str, said: &AMQPError) -> BrokerError {
    let (user, vhost, text) = (url.user(), url.virtual_host(), said.get_message().as_str());
    let refused = |remedy: String| BrokerError::Refused { address: url.address(), reason: format!("{text}; {remedy}") };
    match said.get_id() {
        code::ACCESS_REFUSED if text.contains("Login was refused") => refused(format!(
            "check name and password of user {user:?} for virtual host {vhost:?}, and that the user may connect from here"
        )),
        code::ACCESS_REFUSED => refused(format!(
            "to {action}, user {user:?} needs {} permission in virtual host {vhost:?}: `producer set-up` shows what each role needs",
            // Brokers before 3.12 do not say which.
            match action.split(' ').next() {
                Some("consume") => "read",
                Some("declare" | "delete") => "configure",
                _ => "that",
            }
        )),
        code::NOT_FOUND => BrokerError::Denied {
            action: action.to_owned(),
            reason: format!("{text}; whoever may declare it does so with `producer set-up`"),
        },
        code::NOT_ALLOWED if vhost.is_empty() => refused(format!(
            "the URL ends in / and so names virtual host \"\" (user {user:?}); write /%2f for the default one"
        )),
        code::NOT_ALLOWED => refused(format!(
            "create virtual host {vhost:?}, or give user {user:?} permission on it, or name another in the URL"
        )),
        code::CONNECTION_FORCED | code::INTERNAL_ERROR => unreachable(url, text),
        // Whoever may publish can add headers longer than the frame that a client takes. The broker gives such a message up after
        // some attempts, as any that kills who takes it.
        code::FRAME_ERROR => unreachable(url, format!("{text}; somebody sent a message with headers of that length")),
        _ => BrokerError::Denied { action: action.to_owned(), reason: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: u16, text: &str) -> BrokerError {
        let url = "amqp://ann:s3cret@broker/jobs".parse().unwrap();
        let error = Error::from(ErrorKind::ProtocolError(AMQPError::from_id(id, text.into()).unwrap()));
        classify_declaration(&url, "ns.map", &error)
    }

    #[test]
    fn only_a_lost_broker_may_pass() {
        assert!(said(320, "CONNECTION_FORCED - shutdown").may_pass());
        assert!(said(501, "frame too large: 131106 bytes").may_pass());
        for id in [403, 404, 406, 530] {
            assert!(!said(id, "no").may_pass(), "{id}");
        }
    }

    #[test]
    fn a_refusal_names_user_and_virtual_host_and_never_the_password() {
        let text = said(403, "ACCESS_REFUSED - configure access refused").to_string();
        assert!(text.contains("ann") && text.contains("jobs") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn other_arguments_name_the_queue() {
        assert!(matches!(said(406, "inequivalent arg"), BrokerError::Mismatch { queue, .. } if queue == "ns.map"));
    }
}

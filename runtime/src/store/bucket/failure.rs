//! What a failed request means: whether it can have been carried out, whether to try again, and what to tell a person.
//!
//! Pure. What would surprise: the library hides the status of an answer, so what is not recognised counts as doubtful; that is
//! always safe, since what is doubtful is read back.

use super::super::StoreError;
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as _;
use std::io::{self, ErrorKind};

/// Longest piece of a server's answer that is shown.
const MAX_SHOWN_CHARS: usize = 400;
/// What services call a store without room; AWS itself never is.
const FULL: [&str; 3] = ["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"];
/// What servers call wrong keys, or keys of somebody who may not.
const KEYS: [&str; 5] = ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"];

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The name is taken.
    Exists,
    /// Nothing has the name.
    Missing,
    /// It was not carried out, and may be later.
    NotNow,
    /// It may have been carried out.
    Doubtful,
    /// So, too; and waiting for this answer took so long that there is no time for another.
    TooSlow,
    /// No room.
    Full,
    /// There is no such bucket.
    NoBucket,
    /// The server does not let us.
    Forbidden,
    /// It cannot do what is asked.
    Unable,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        let text = error.to_string();
        let code = code(&text).unwrap_or_default();
        match code {
            "NoSuchBucket" => return Self::NoBucket,
            "NotImplemented" => return Self::Unable,
            _ if FULL.contains(&code) => return Self::Full,
            _ if KEYS.contains(&code) => return Self::Forbidden,
            _ => {}
        }
        match error {
            Error::AlreadyExists { source, .. } => match source.downcast_ref() {
                Some(Error::Precondition { .. } | Error::NotModified { .. }) => Self::Exists,
                // Somebody writes or deletes the name at this moment.
                _ => Self::NotNow,
            },
            Error::NotFound { .. } | Error::Precondition { .. } => Self::Missing,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Self::Forbidden,
            Error::NotImplemented { .. } | Error::NotSupported { .. } => Self::Unable,
            _ => match transport(error) {
                Some(HttpErrorKind::Connect) => Self::NotNow,
                Some(HttpErrorKind::Timeout) => Self::TooSlow,
                _ => Self::Doubtful,
            },
        }
    }

    /// What to do about it.
    fn remedy(self, bucket: &str) -> Option<String> {
        Some(match self {
            Self::NoBucket => format!("there is no bucket {bucket}; make it, or correct --store"),
            Self::Forbidden => format!(
                "the bucket {bucket} does not let us: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and that \
                 the key may list, get, put and delete there"
            ),
            Self::NotNow => {
                "the bucket's server cannot be reached: check AWS_ENDPOINT_URL and the network, work goes on by itself"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// How the connection failed, if it was that.
fn transport(error: &Error) -> Option<HttpErrorKind> {
    let mut cause = error.source();
    while let Some(found) = cause {
        if let Some(http) = found.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = found.source();
    }
    None
}

/// The code in the answer that servers give as XML.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0)
}

/// What a failure is to the callers of a store, `path` being what they asked for.
pub(super) fn store_error(path: String, bucket: &str, error: &Error) -> StoreError {
    let failure = Failure::of(error);
    let reason = reason(failure, bucket, error);
    match failure {
        Failure::Full => StoreError::Full { path, reason },
        Failure::Doubtful | Failure::TooSlow => StoreError::Unknown { path, reason },
        _ => StoreError::Failed { path, source: io::Error::new(kind(failure), reason) },
    }
}

/// The same for requests that change nothing, or may be carried out any number of times.
pub(super) fn harmless(path: String, bucket: &str, error: &Error) -> StoreError {
    match store_error(path, bucket, error) {
        StoreError::Unknown { path, reason } => {
            StoreError::Failed { path, source: io::Error::new(ErrorKind::TimedOut, reason) }
        }
        other => other,
    }
}

/// The same as an error of reading or writing; [`StoreError::before_the_name`] turns it back.
pub(super) fn io_error(bucket: &str, error: &Error) -> io::Error {
    let failure = Failure::of(error);
    io::Error::new(kind(failure), reason(failure, bucket, error))
}

fn kind(failure: Failure) -> ErrorKind {
    match failure {
        Failure::Exists => ErrorKind::AlreadyExists,
        Failure::Missing | Failure::NoBucket => ErrorKind::NotFound,
        Failure::NotNow => ErrorKind::NotConnected,
        Failure::Doubtful | Failure::TooSlow => ErrorKind::TimedOut,
        Failure::Full => ErrorKind::StorageFull,
        Failure::Forbidden => ErrorKind::PermissionDenied,
        Failure::Unable => ErrorKind::Unsupported,
    }
}

fn reason(failure: Failure, bucket: &str, error: &Error) -> String {
    let mut chain = error.to_string();
    // The library's text ends where the connection's begins.
    let mut cause = error.source();
    while let Some(found) = cause {
        let text = found.to_string();
        if !chain.contains(&text) {
            chain = format!("{chain}: {text}");
        }
        cause = found.source();
    }
    let said: String = chain.chars().filter(|letter| !letter.is_control()).take(MAX_SHOWN_CHARS).collect();
    failure.remedy(bucket).map_or_else(|| said.clone(), |remedy| format!("{remedy} ({said})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn because(source: Error) -> Error {
        Error::AlreadyExists { path: "a".to_owned(), source: Box::new(source) }
    }

    fn broken(kind: HttpErrorKind) -> Error {
        Error::Generic { store: "S3", source: Box::new(HttpError::new(kind, io::Error::other("gone"))) }
    }

    #[test]
    fn only_a_failed_condition_says_that_the_name_is_taken() {
        let condition = Error::Precondition { path: "a".to_owned(), source: "412".into() };
        assert_eq!(Failure::of(&because(condition)), Failure::Exists);
        assert_eq!(Failure::of(&because(generic("409 Conflict"))), Failure::NotNow);
    }

    #[test]
    fn what_is_not_understood_may_have_happened() {
        let failures = [
            generic("lorem"),
            generic("503 <Code>SlowDown</Code>"),
            broken(HttpErrorKind::Request),
            broken(HttpErrorKind::Interrupted),
            broken(HttpErrorKind::Unknown),
        ];
        for failure in failures {
            assert_eq!(Failure::of(&failure), Failure::Doubtful, "{failure}");
        }
        assert_eq!(Failure::of(&broken(HttpErrorKind::Timeout)), Failure::TooSlow);
        assert_eq!(Failure::of(&broken(HttpErrorKind::Connect)), Failure::NotNow);
    }

    #[test]
    fn a_server_without_room_is_full_whatever_it_calls_that() {
        for code in FULL {
            let error = store_error("a".to_owned(), "b", &generic(&format!("507 <Error><Code>{code}</Code></Error>")));
            assert!(matches!(error, StoreError::Full { .. }), "{error}");
        }
    }
}
